// What the map draws: the workloads, or whole namespaces folded into one node, and the edges between what is drawn.
import type { Health, MapEdge, MapNode, ServiceMap } from '../api/types.ts'
import { HEALTH_ORDER } from '../ui/Health.tsx'

export interface GraphNode {
  id: string
  name: string
  namespace: string
  kind: string
  x: number
  y: number
  health: Health
  rate: number | null
  errorShare: number | null
  p95: number | null
  /** The workloads of a folded namespace; empty for a workload. */
  members: MapNode[]
  /** Indexes of its edges. */
  edges: number[]
}

export interface GraphEdge {
  id: string
  from: number
  to: number
  health: Health
  rate: number | null
  errorShare: number | null
  p95: number | null
  /** An edge the other way exists too, so both are drawn beside the middle. */
  paired: boolean
  /** What is drawn as one line: several between folded namespaces, or on several ports. */
  parts: MapEdge[]
}

export interface Bounds {
  minX: number
  minY: number
  maxX: number
  maxY: number
}

export interface Area extends Bounds {
  namespace: string
}

export interface Graph {
  nodes: GraphNode[]
  edges: GraphEdge[]
  byId: Map<string, number>
  bounds: Bounds
  /** The boxes of unfolded namespaces, while grouping is on. */
  areas: Area[]
}

export interface Grouping {
  on: boolean
  open: ReadonlySet<string>
}

/** Id of a folded namespace: no workload has it, for a workload's id has two slashes. */
export const groupId = (namespace: string) => `namespace:${namespace}`

export function worst(all: readonly Health[]): Health {
  return HEALTH_ORDER.find((h) => all.includes(h)) ?? 'idle'
}

/** The sum of what is known; null when nothing is. */
function sumKnown(values: readonly (number | null)[]): number | null {
  const known = values.filter((v): v is number => v !== null)
  return known.length > 0 ? known.reduce((a, b) => a + b, 0) : null
}

interface Figures {
  signals: { rate: number | null; errorShare: number | null; p95: number | null }
}

/** Rate and errors of several add up; a quantile of several is not known, and is not made up. */
export function together(parts: readonly Figures[]) {
  if (parts.length === 1) {
    const { rate, errorShare, p95 } = parts[0]!.signals
    return { rate, errorShare, p95 }
  }
  const rate = sumKnown(parts.map((p) => p.signals.rate))
  const failing = sumKnown(parts.map(({ signals: s }) => (s.rate !== null && s.errorShare !== null ? s.rate * s.errorShare : null)))
  return { rate, errorShare: rate !== null && rate > 0 && failing !== null ? failing / rate : null, p95: null }
}

export function buildGraph(map: Pick<ServiceMap, 'nodes' | 'edges'>, grouping: Grouping): Graph {
  const folded = (n: MapNode) => grouping.on && n.namespace !== '' && !grouping.open.has(n.namespace)
  const single = map.nodes.filter((n) => !folded(n)).map(workloadNode)
  const groups = groupBy(map.nodes.filter(folded), (n) => n.namespace).map(([namespace, members]) => namespaceNode(namespace, members))
  spread(groups)
  const nodes = [...single, ...groups]
  const byId = new Map<string, number>()
  nodes.forEach((n, i) => {
    byId.set(n.id, i)
    n.members.forEach((m) => byId.set(m.id, i))
  })
  const edges = joinEdges(map.edges, byId)
  edges.forEach((e, i) => {
    nodes[e.from]!.edges.push(i)
    if (e.to !== e.from) nodes[e.to]!.edges.push(i)
  })
  return { nodes, edges, byId, bounds: boundsOf(nodes), areas: grouping.on ? areasOf(single) : [] }
}

function workloadNode(n: MapNode): GraphNode {
  const { rate, errorShare, p95 } = n.signals
  return { id: n.id, name: n.name, namespace: n.namespace, kind: n.kind, x: n.x, y: n.y, health: n.health, rate, errorShare, p95, members: [], edges: [] }
}

function namespaceNode(namespace: string, members: MapNode[]): GraphNode {
  const mean = (f: (n: MapNode) => number) => members.reduce((sum, n) => sum + f(n), 0) / members.length
  return {
    id: groupId(namespace), name: namespace, namespace, kind: 'namespace', x: mean((n) => n.x), y: mean((n) => n.y),
    health: worst(members.map((m) => m.health)), ...together(members), members, edges: [],
  }
}

export function groupBy<T>(items: readonly T[], key: (item: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const k = key(item)
    const list = groups.get(k)
    if (list) list.push(item)
    else groups.set(k, [item])
  }
  return [...groups]
}

function joinEdges(edges: readonly MapEdge[], byId: ReadonlyMap<string, number>): GraphEdge[] {
  const drawn = edges.flatMap((edge) => {
    const from = byId.get(edge.client)
    const to = byId.get(edge.server)
    return from === undefined || to === undefined ? [] : [{ edge, from, to }]
  })
  // Within a folded namespace there is nothing to draw; a workload that calls itself keeps its loop.
  const between = drawn.filter(({ edge, from, to }) => from !== to || edge.client === edge.server)
  const joined = groupBy(between, ({ from, to }) => `${from}>${to}`)
  const keys = new Set(joined.map(([key]) => key))
  return joined.map(([id, list]) => {
    const { from, to } = list[0]!
    const parts = list.map((l) => l.edge)
    const health = worst(parts.map((p) => p.health))
    return { id: parts.length === 1 ? parts[0]!.id : id, from, to, health, ...together(parts), paired: from !== to && keys.has(`${to}>${from}`), parts }
  })
}

function boundsOf(points: readonly { x: number; y: number }[]): Bounds {
  const bounds = { minX: Infinity, minY: Infinity, maxX: -Infinity, maxY: -Infinity }
  for (const { x, y } of points) {
    bounds.minX = Math.min(bounds.minX, x)
    bounds.minY = Math.min(bounds.minY, y)
    bounds.maxX = Math.max(bounds.maxX, x)
    bounds.maxY = Math.max(bounds.maxY, y)
  }
  return points.length > 0 ? bounds : { minX: 0, minY: 0, maxX: 0, maxY: 0 }
}

function areasOf(nodes: readonly GraphNode[]): Area[] {
  const named = nodes.filter((n) => n.namespace !== '')
  return groupBy(named, (n) => n.namespace).map(([namespace, members]) => ({ namespace, ...boundsOf(members) }))
}

const SPREAD_X = 260
const SPREAD_Y = 80

/** Pushes folded namespaces apart until they do not cover each other; the same result for the same input. */
function spread(nodes: GraphNode[]) {
  for (let pass = 0; pass < 40; pass++) {
    let moved = false
    for (let i = 0; i < nodes.length; i++) {
      for (let j = i + 1; j < nodes.length; j++) moved = pushApart(nodes[i]!, nodes[j]!) || moved
    }
    if (!moved) return
  }
}

function pushApart(a: GraphNode, b: GraphNode): boolean {
  const overX = SPREAD_X - Math.abs(b.x - a.x)
  const overY = SPREAD_Y - Math.abs(b.y - a.y)
  if (overX <= 0 || overY <= 0) return false
  if (overX / SPREAD_X < overY / SPREAD_Y) {
    const by = (b.x >= a.x ? overX : -overX) / 2
    a.x -= by
    b.x += by
  } else {
    const by = (b.y >= a.y ? overY : -overY) / 2
    a.y -= by
    b.y += by
  }
  return true
}
