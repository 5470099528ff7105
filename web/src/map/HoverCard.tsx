import { HealthMark } from '../ui/Health.tsx'
import type { Graph } from './graph.ts'
import type { Hit } from './hit.ts'
import styles from './HoverCard.module.css'
import type { Point } from './view.ts'
import { figuresInWords, kindInWords } from './words.ts'

interface Props {
  graph: Graph
  hit: NonNullable<Hit>
  at: Point
  width: number
}

/** What the pointer is on, beside the pointer. The same is in the side panel for those without one. */
export function HoverCard({ graph, hit, at, width }: Props) {
  const left = Math.min(at.x + 14, Math.max(0, width - 280))
  return <div className={styles.card} style={{ left, top: at.y + 16 }} aria-hidden="true">{content(graph, hit)}</div>
}

function content(graph: Graph, hit: NonNullable<Hit>) {
  if (hit.kind === 'node') {
    const node = graph.nodes[hit.index]
    if (!node) return null
    return (
      <>
        <p className={styles.title}><HealthMark health={node.health} /> {node.name}</p>
        <p className="muted">{kindInWords(node)}</p>
        <p className="num">{figuresInWords(node)}</p>
      </>
    )
  }
  const edge = graph.edges[hit.index]
  const [from, to] = [graph.nodes[edge?.from ?? -1], graph.nodes[edge?.to ?? -1]]
  if (!edge || !from || !to) return null
  const ports = [...new Set(edge.parts.map((p) => `${p.protocol} ${p.port}`))]
  return (
    <>
      <p className={styles.title}><HealthMark health={edge.health} /> {from.name} → {to.name}</p>
      <p className="muted">{ports.length > 3 ? `${edge.parts.length} connections` : ports.join(', ')}</p>
      <p className="num">{figuresInWords(edge)}</p>
      {edge.parts.length === 1 && edge.parts[0]!.reasons?.map((reason) => <p key={reason}>{reason}</p>)}
    </>
  )
}
