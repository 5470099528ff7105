// Generated data in the shapes of api/openapi.yaml: for development without a server, and for the tests of scale.
import type {
  EventCounts, EventList, Health, MapEdge, MapNode, Series, ServiceMap, Signals, Status, WorkloadDetail, WorkloadList, WorkloadSummary,
} from '../src/api/types.ts'

/** A small repeatable random number generator (mulberry32), 0 <= x < 1. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const NAMESPACES = ['shop', 'payments', 'search', 'identity', 'media', 'billing', 'platform', 'reports', 'mail', 'batch']
const ROLES = ['gateway', 'frontend', 'api', 'worker', 'cache', 'db', 'queue', 'auth', 'index', 'cron', 'admin', 'sync']
const KINDS = ['Deployment', 'Deployment', 'Deployment', 'StatefulSet', 'DaemonSet', 'CronJob']
const ROUTES = ['/', '/healthz', '/api/v1/orders/*', '/api/v1/cart', '/login', '/assets/*', '/search', '/api/v1/users/*/avatar']

export interface Topology {
  nodes: MapNode[]
  edges: MapEdge[]
}

function signalsOf(rnd: () => number, trouble: number): Signals {
  const p50 = 0.001 * 10 ** (rnd() * 2)
  return {
    rate: 10 ** (rnd() * 4 - 1),
    errorShare: trouble > 0.97 ? 0.05 + rnd() * 0.3 : trouble > 0.92 ? 0.01 + rnd() * 0.03 : trouble > 0.5 ? 0 : rnd() * 0.002,
    p50, p95: p50 * (2 + rnd() * 4), p99: p50 * (6 + rnd() * 20),
  }
}

function healthOf(share: number | null): Health {
  if (share === null) return 'idle'
  return share >= 0.05 ? 'critical' : share >= 0.01 ? 'warning' : 'ok'
}

const reasonsOf = (share: number | null) =>
  share !== null && share >= 0.01 ? [`${(share * 100).toFixed(1)} % of requests fail`] : []
const NONE: Signals = { rate: null, errorShare: null, p50: null, p95: null, p99: null }

function makeNode(i: number, count: number, rnd: () => number): MapNode {
  const spaces = Math.max(3, Math.min(NAMESPACES.length * 3, Math.round(count / 25)))
  const space = i % spaces
  const suffix = space >= NAMESPACES.length ? `-${Math.floor(space / NAMESPACES.length) + 1}` : ''
  const namespace = NAMESPACES[space % NAMESPACES.length] + suffix
  const row = Math.floor(i / spaces)
  const name = `${ROLES[row % ROLES.length]}${row >= ROLES.length ? `-${Math.floor(row / ROLES.length)}` : ''}`
  const kind = KINDS[Math.floor(rnd() * KINDS.length)]!
  const idle = rnd() > 0.96
  const signals = idle ? NONE : signalsOf(rnd, rnd())
  const across = Math.ceil(Math.sqrt(spaces))
  const columns = Math.max(2, Math.ceil(Math.sqrt(count / spaces / 2)))
  const rows = Math.ceil(Math.ceil(count / spaces) / columns)
  return {
    id: `${namespace}/${kind}/${name}`, cluster: 'default', namespace, kind, name,
    health: healthOf(signals.errorShare), reasons: reasonsOf(signals.errorShare), signals,
    // Cells of 260 x 80 as the server's own layout: a block a namespace, about twice as many rows as columns.
    x: ((space % across) * (columns + 1) + Math.floor(row / rows)) * 260,
    y: (Math.floor(space / across) * (rows + 1) + (row % rows)) * 80,
  }
}

function makeEdge(client: MapNode, server: MapNode, rnd: () => number): MapEdge {
  const http = rnd() > 0.3
  const port = http ? 8080 : 5432
  const signals = server.health === 'idle' || !http ? { ...NONE } : signalsOf(rnd, rnd())
  const refused = rnd() > 0.985 ? 0.4 : 0
  const health: Health = refused ? 'critical' : http ? healthOf(signals.errorShare) : 'ok'
  return {
    id: `${client.id}>${server.id}:${port}/${http ? 'http' : 'tcp'}`, client: client.id, server: server.id, port,
    protocol: http ? 'http' : 'tcp', health,
    reasons: refused ? ['0.4 connections a second are refused'] : reasonsOf(signals.errorShare), signals,
    connectRate: rnd() * 4, failedConnectRate: refused, failedConnects: refused ? { refused } : {},
    bytesSentRate: 10 ** (rnd() * 5), bytesReceivedRate: 10 ** (rnd() * 6), retransmitRate: rnd() > 0.9 ? rnd() : 0,
    rtt: 0.0001 + rnd() * 0.002,
  }
}

/** Workloads in namespaces with mostly local edges; the same for the same numbers. */
export function topology(workloads: number, edges: number): Topology {
  const rnd = random(42)
  const nodes = Array.from({ length: workloads }, (_, i) => makeNode(i, workloads, rnd))
  const groups = new Map<string, MapNode[]>()
  for (const node of nodes) groups.set(node.namespace, [...(groups.get(node.namespace) ?? []), node])
  const seen = new Set<string>()
  const out: MapEdge[] = []
  for (let tries = 0; out.length < edges && tries < edges * 50; tries++) {
    const client = nodes[Math.floor(rnd() * nodes.length)]!
    const pool = rnd() < 0.85 ? groups.get(client.namespace)! : nodes
    const server = pool[Math.floor(rnd() ** 2 * pool.length)]!
    const key = `${client.id}>${server.id}`
    if (server === client || seen.has(key)) continue
    seen.add(key)
    out.push(makeEdge(client, server, rnd))
  }
  return { nodes, edges: out }
}

/** The topology with its figures as they are at `now`: a little different at each tick. */
export function mapAt(base: Topology, now: number, length: number): ServiceMap {
  const wobble = (v: number | null, i: number) => (v === null ? null : v * (1 + 0.15 * Math.sin(now / 7 + i)))
  const nodes = base.nodes.map((n, i) => ({ ...n, signals: { ...n.signals, rate: wobble(n.signals.rate, i), p95: wobble(n.signals.p95, i) } }))
  const edges = base.edges.map((e, i) => ({ ...e, signals: { ...e.signals, rate: wobble(e.signals.rate, i) } }))
  return { start: new Date((now - length) * 1000).toISOString(), end: new Date(now * 1000).toISOString(), nodes, edges }
}

export function series(level: number | null, seed: number, start: number, end: number, points: number): Series {
  const rnd = random(seed)
  const step = Math.max(1, Math.round((end - start) / points))
  const first = Math.floor(start / step) * step
  const values = Array.from({ length: Math.floor((end - first) / step) }, (_, i) => {
    const t = (first + i * step) / 60
    return level === null ? null : Math.max(0, level * (1 + 0.3 * Math.sin(t / 3 + seed) + 0.12 * (rnd() - 0.5)))
  })
  return { start: first, step, values }
}

const ORDER: Health[] = ['critical', 'warning', 'ok', 'idle']

export function workloadList(base: Topology, start: number, end: number): WorkloadList {
  const workloads = base.nodes.map((n, i) => summary(n, i, start, end))
  workloads.sort((a, b) => ORDER.indexOf(a.health) - ORDER.indexOf(b.health) || (b.signals.rate ?? 0) - (a.signals.rate ?? 0))
  return { start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString(), workloads }
}

function summary(n: MapNode, i: number, start: number, end: number): WorkloadSummary {
  return {
    id: n.id, cluster: n.cluster, namespace: n.namespace, kind: n.kind, name: n.name, health: n.health, reasons: n.reasons ?? [], signals: n.signals,
    rateSpark: series(n.signals.rate, i + 1, start, end, 40),
    errorSpark: series(n.signals.errorShare, i + 2, start, end, 40),
    latencySpark: series(n.signals.p95, i + 3, start, end, 40),
  }
}

export function workloadDetail(base: Topology, id: string, start: number, end: number): WorkloadDetail | null {
  const i = base.nodes.findIndex((n) => n.id === id)
  const node = base.nodes[i]
  if (!node) return null
  const s = node.signals
  const share = s.errorShare ?? 0
  const part = (p: number, k: number) => series(s.rate === null ? null : s.rate * p, i * 7 + k, start, end, 150)
  return {
    workload: summary(node, i, start, end), start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString(),
    charts: {
      rateByClass: s.rate === null ? {} : { '2xx': part(0.9 - share, 1), '3xx': part(0.06, 2), '4xx': part(0.04, 3), '5xx': part(share, 4) },
      errorShare: series(s.errorShare, i + 5, start, end, 150),
      p50: series(s.p50, i + 6, start, end, 150), p95: series(s.p95, i + 6, start, end, 150), p99: series(s.p99, i + 6, start, end, 150),
    },
    callers: base.edges.filter((e) => e.server === id), callees: base.edges.filter((e) => e.client === id),
    routes: s.rate === null ? [] : ROUTES.map((route, k) => routeOf(node, route, k)),
    tls: base.edges.filter((e) => e.server === id && e.port === 443).map((e, k) => ({
      client: e.client, server: id, port: e.port, version: k % 5 === 4 ? '1.0' : '1.3', sni: `${node.name}.example.com`, alpn: 'h2,http/1.1', cipher: 'TLS_AES_128_GCM_SHA256', connectRate: 2 / (k + 1),
    })),
  }
}

function routeOf(node: MapNode, route: string, k: number) {
  const rate = (node.signals.rate ?? 0) / (k + 1) / 2.7
  const share = k === 2 ? (node.signals.errorShare ?? 0) * 3 : 0
  const codes: Record<string, number> = { '200': rate * (1 - share) }
  if (share > 0) codes['500'] = rate * share
  return {
    protocol: 'http', method: k === 4 ? 'POST' : 'GET', route, codes,
    signals: { ...node.signals, rate, errorShare: share, p95: (node.signals.p95 ?? 0) * (1 + k / 4) },
  }
}

export function eventList(base: Topology, start: number, end: number): EventList {
  const at = (share: number) => new Date((start + (end - start) * share) * 1000).toISOString()
  const events = base.nodes.slice(0, 30).map((n, i) => ({
    first: at(0.5), last: at(1 - i / 60), count: 1 + (i % 4) * 3, type: i % 3 ? 'Normal' as const : 'Warning' as const, reason: i % 3 ? 'Pulled' : 'BackOff',
    message: i % 3 ? 'Container image is on the machine already' : 'Back-off restarting a failed container', source: 'kubernetes',
    object: { namespace: n.namespace, kind: 'Pod', name: `${n.name}-7d9f` }, workload: n.id, cluster: '', node: `node${i % 3}`, fields: {},
  }))
  return { start: at(0), end: at(1), events, next: null }
}

export function eventCounts(start: number, end: number, by: string): EventCounts {
  const groups = (by === 'type' ? ['Normal', 'Warning'] : ['Pulled', 'BackOff']).map((value, k) => ({ value, total: 60, counts: Array.from({ length: 60 }, (_, i) => (i * (7 + k)) % 5) }))
  return { start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString(), step: (end - start) / 60, by, groups }
}

export const status: Status = {
  version: '0.0.0-fixture', ready: true, cluster: 'default', clusters: ['default'],
  hooks: { 'tp_btf/sock_send_length': true, 'tp_btf/sock_recv_length': true, 'raw_tp/sys_exit': false },
  losses: { ring_full: 0, map_full: 0 },
  store: { series: 12431, bytes: 48_000_000, oldest: new Date(Date.now() - 3_600_000).toISOString() },
}
