// Which part of the map is bright: what is pointed at or chosen with its neighbours, or what a search found.
import type { Graph } from './graph.ts'
import type { Hit } from './hit.ts'

export interface Light {
  /** Null: nothing is singled out, so all is bright. */
  nodes: ReadonlySet<number> | null
  edges: ReadonlySet<number> | null
}

const ALL: Light = { nodes: null, edges: null }

/** The node or edge with this id: a node's, an edge's, or that of any workload or edge folded into it. */
export function find(graph: Graph, id: string | null): Hit {
  if (id === null) return null
  const node = graph.byId.get(id)
  if (node !== undefined) return { kind: 'node', index: node }
  const edge = graph.edges.findIndex((e) => e.id === id || e.parts.some((p) => p.id === id))
  return edge < 0 ? null : { kind: 'edge', index: edge }
}

/** Indexes of the nodes whose name, namespace or kind (or a member's) holds every word; null for an empty text. */
export function search(graph: Graph, text: string): Set<number> | null {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length === 0) return null
  const found = new Set<number>()
  graph.nodes.forEach((n, i) => {
    const hay = [n, ...n.members].map((m) => `${m.namespace}/${m.name} ${m.kind}`).join('\n').toLowerCase()
    if (words.every((w) => hay.includes(w))) found.add(i)
  })
  return found
}

export function lightOf(graph: Graph, target: Hit, found: ReadonlySet<number> | null): Light {
  if (target) return around(graph, target)
  if (!found) return ALL
  const edges = new Set<number>()
  graph.edges.forEach((e, i) => {
    if (found.has(e.from) || found.has(e.to)) edges.add(i)
  })
  return { nodes: found, edges }
}

function around(graph: Graph, target: NonNullable<Hit>): Light {
  const indexes = target.kind === 'node' ? graph.nodes[target.index]!.edges : [target.index]
  const nodes = new Set<number>(target.kind === 'node' ? [target.index] : [])
  for (const i of indexes) {
    nodes.add(graph.edges[i]!.from)
    nodes.add(graph.edges[i]!.to)
  }
  return { nodes, edges: new Set(indexes) }
}
