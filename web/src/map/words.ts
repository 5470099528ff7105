// Nodes and edges in words: for screen readers, titles and cards.
import { duration, percent, rate } from '../format/number.ts'
import { HEALTH_WORDS } from '../ui/Health.tsx'
import type { Graph, GraphNode } from './graph.ts'

interface Figures {
  rate: number | null
  errorShare: number | null
  p95: number | null
}

/** "900/s, 9.9 % errors, p95 37 ms"; "no requests" where none is known. */
export function figuresInWords({ rate: r, errorShare, p95 }: Figures): string {
  if (r === null) return 'no requests'
  const parts = [rate(r)]
  if (errorShare !== null) parts.push(`${percent(errorShare)} errors`)
  if (p95 !== null) parts.push(`p95 ${duration(p95)}`)
  return parts.join(', ')
}

/** "1 workload", "12 workloads". */
export const counted = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`

export function kindInWords(node: Pick<GraphNode, 'kind' | 'namespace' | 'members'>): string {
  if (node.members.length > 0) return counted(node.members.length, 'workload')
  return node.namespace ? `${node.kind} in ${node.namespace}` : node.kind
}

export function describeNode(graph: Graph, node: GraphNode): string {
  const self = graph.byId.get(node.id)
  const callers = node.edges.filter((e) => graph.edges[e]!.to === self).length
  const callees = node.edges.filter((e) => graph.edges[e]!.from === self).length
  return `${node.name}, ${kindInWords(node)}. ${HEALTH_WORDS[node.health]}, ${figuresInWords(node)}. ${counted(callers, 'caller')}, ${counted(callees, 'callee')}.`
}
