import type { InventoryNode, Namespace, Pod, WorkloadSummary } from '../api/types.ts'

/** One place that the search can go to. */
export interface Place {
  key: string
  title: string
  /** What it is, beside the title. */
  kind: string
  to: string
  with?: Record<string, string>
}

export const PAGES: readonly Place[] = [
  { key: 'page /', title: 'Overview', kind: 'Page', to: '/' },
  { key: 'page /map', title: 'Map', kind: 'Page', to: '/map' },
  { key: 'page /namespaces', title: 'Namespaces', kind: 'Page', to: '/namespaces' },
  { key: 'page /pods', title: 'Pods', kind: 'Page', to: '/pods' },
  { key: 'page /nodes', title: 'Nodes', kind: 'Page', to: '/nodes' },
  { key: 'page /events', title: 'Events', kind: 'Page', to: '/events' },
  { key: 'page /query', title: 'Query', kind: 'Page', to: '/query' },
]

/** How many places are shown at once. */
export const MOST = 30

/** What there is to find. The namespaces of workloads and pods hold their cluster where there is more than one. */
export interface Known {
  workloads: readonly WorkloadSummary[]
  namespaces: readonly Namespace[]
  pods: readonly Pod[]
  nodes: readonly InventoryNode[]
}

/** Workloads first, then what holds them, then pods: of those that fit equally well there are most. */
export function placesOf({ workloads, namespaces, pods, nodes }: Known): Place[] {
  const many = new Set([...namespaces, ...nodes].map((n) => n.cluster)).size > 1
  const within = (kind: string, cluster: string) => (many ? `${kind} in ${cluster}` : kind)
  return [
    ...workloads.map((w) => ({ key: w.id, title: w.name, kind: w.namespace ? `${w.kind} in ${w.namespace}` : w.kind, to: '/workload', with: { id: w.id } })),
    ...namespaces.map((n) => ({ key: `namespace ${n.id}`, title: n.name, kind: within('Namespace', n.cluster), to: '/namespace', with: { id: n.id } })),
    ...nodes.map((n) => ({ key: `node ${n.id}`, title: n.name, kind: within('Node', n.cluster), to: '/node', with: { id: n.id } })),
    ...PAGES,
    ...pods.map((p) => ({ key: `pod ${p.id} ${p.uid}`, title: p.name, kind: `Pod in ${p.namespace}`, to: '/pod', with: { id: p.id } })),
  ]
}

/** How well a place fits: 0 for a title that is the text, 1 for one that begins with it, 2 where a word does, 3 elsewhere; null where a word is missing. */
function fit({ title, kind }: Place, text: string, words: readonly string[]): number | null {
  const name = title.toLowerCase()
  const all = `${name} ${kind.toLowerCase()}`
  if (!words.every((word) => all.includes(word))) return null
  if (name === text) return 0
  if (name.startsWith(text)) return 1
  return name.split(/[^a-z0-9]+/).some((part) => part.startsWith(text)) ? 2 : 3
}

/** The places that hold every word of the text, the best first; workloads in trouble come first among equals, as the overview has them. Without a text, pages. */
export function find(all: readonly Place[], text: string): Place[] {
  const asked = text.trim().toLowerCase()
  if (asked === '') return [...PAGES]
  const words = asked.split(/\s+/)
  return all
    .map((place) => ({ place, rank: fit(place, asked, words) }))
    .filter((found): found is { place: Place; rank: number } => found.rank !== null)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST)
    .map((found) => found.place)
}
