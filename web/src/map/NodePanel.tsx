import type { MapEdge, MapNode, ServiceMap } from '../api/types.ts'
import { percent, rate } from '../format/number.ts'
import { requestRateQuery } from '../query/links.ts'
import { HealthMark } from '../ui/Health.tsx'
import { Reasons } from '../ui/Reasons.tsx'
import { splitId } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import { SignalFigures } from './SignalFigures.tsx'
import styles from './SidePanel.module.css'
import type { MapState } from './useMapState.ts'
import { kindInWords } from './words.ts'

interface Props {
  node: MapNode
  map: Pick<ServiceMap, 'edges'>
  state: MapState
}

export function NodePanel({ node, map, state }: Props) {
  const callers = map.edges.filter((e) => e.server === node.id)
  const callees = map.edges.filter((e) => e.client === node.id)
  return (
    <>
      <header className={styles.head}>
        <h2><HealthMark health={node.health} size={14} /> {node.name}</h2>
        <p className="muted">{kindInWords({ ...node, members: [] })}</p>
      </header>
      <Reasons reasons={node.reasons ?? []} health={node.health} />
      <SignalFigures signals={node.signals} />
      <nav className={styles.links} aria-label="More about this workload">
        <Link to="/workload" with={{ id: node.id }}>Open workload</Link>
        {splitId(node.id).namespace && <Link to="/namespace" with={{ id: node.id.slice(0, node.id.indexOf('/')) }}>Namespace</Link>}
        <Link to="/query" with={{ q: requestRateQuery(node) }}>Query</Link>
      </nav>
      <Ends title="Callers" side="client" edges={callers} state={state} />
      <Ends title="Callees" side="server" edges={callees} state={state} />
    </>
  )
}

function Ends({ title, side, edges, state }: { title: string; side: 'client' | 'server'; edges: MapEdge[]; state: MapState }) {
  const sorted = [...edges].sort((a, b) => (b.signals.rate ?? -1) - (a.signals.rate ?? -1))
  return (
    <section className={styles.ends}>
      <h3>{title} <span className="muted num">{edges.length}</span></h3>
      {edges.length === 0 && <p className="muted">None in this time range.</p>}
      <ul>
        {sorted.map((e) => (
          <li key={e.id}>
            <button type="button" title={e[side]} onClick={() => state.choose(e[side], null)}>{splitId(e[side]).name}</button>
            <button type="button" className="num" aria-label={`The edge with ${splitId(e[side]).name} on port ${e.port}`} onClick={() => state.choose(null, e.id)}>
              <HealthMark health={e.health} size={10} />
              <span>{e.signals.rate === null ? `${e.protocol} ${e.port}` : rate(e.signals.rate)}</span>
              {(e.signals.errorShare ?? 0) >= 0.0001 && <span className={(e.signals.errorShare ?? 0) >= 0.01 ? styles.bad : 'muted'}>{percent(e.signals.errorShare)}</span>}
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}
