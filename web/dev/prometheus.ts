// A stand-in for /api/v1 in development: series that look right, not a query engine.
import { series } from './fixture.ts'

const METRICS: Record<string, [string, string]> = {
  vetch_workload_requests_total: ['counter', 'Requests that a workload served.'],
  vetch_workload_request_duration_seconds: ['histogram', 'Time from the first byte of a request to the last byte of its response.'],
  vetch_edge_requests_total: ['counter', 'Requests from one workload to another.'],
  vetch_edge_bytes_total: ['counter', 'Bytes from one workload to another.'],
  vetch_edge_active_connections: ['gauge', 'Connections that are open.'],
  up: ['gauge', 'Whether the scrape worked.'],
}
const LABELS = ['__name__', 'namespace', 'kind', 'workload', 'protocol', 'method', 'route', 'code']
const VALUES: Record<string, string[]> = {
  namespace: ['shop', 'payments'], kind: ['Deployment'], workload: ['api', 'gateway', 'worker'], protocol: ['http'],
  method: ['GET', 'POST'], route: ['/', '/login'], code: ['200', '404', '500'],
}

interface Reply {
  status: number
  body: unknown
}
const ok = (data: unknown): Reply => ({ status: 200, body: { status: 'success', data } })
const bad = (error: string): Reply => ({ status: 400, body: { status: 'error', errorType: 'bad_data', error } })

function metricsOf(expr: string): Record<string, string>[] {
  const name = Object.keys(METRICS).find((m) => expr.includes(m)) ?? 'up'
  const aggregated = /\b(sum|histogram_quantile|avg|max)\b/.test(expr)
  return ['api', 'gateway', 'worker', 'frontend'].map((workload) => ({
    ...(aggregated ? {} : { __name__: name, namespace: 'shop', kind: 'Deployment', protocol: 'http' }), workload,
  }))
}

const isHistogram = (expr: string) =>
  expr.includes('duration_seconds') && !/histogram_(quantile|count|sum|avg|fraction)/.test(expr)

function histogram(seed: number) {
  const buckets = Array.from({ length: 14 }, (_, i) => {
    const count = Math.round(400 * Math.exp(-((i - 5 - (seed % 3)) ** 2) / 8))
    return [0, String(0.001 * 2 ** (i / 2)), String(0.001 * 2 ** ((i + 1) / 2)), String(count)] as const
  })
  const count = buckets.reduce((sum, b) => sum + Number(b[3]), 0)
  return { count: String(count), sum: String(count * 0.012), buckets }
}

function rangeOf(expr: string, q: URLSearchParams): Reply {
  const [start, end, step] = ['start', 'end', 'step'].map((k) => Number(q.get(k)))
  const result = metricsOf(expr).map((metric, i) => {
    const s = series(20 * (i + 1), i + 3, start!, end!, Math.max(1, (end! - start!) / step!))
    const times = s.values.map((_, k) => s.start + k * s.step)
    if (isHistogram(expr)) return { metric, histograms: times.map((t, k) => [t, histogram(k + i)]) }
    return { metric, values: times.map((t, k) => [t, String(s.values[k])]) }
  })
  return ok({ resultType: 'matrix', result })
}

function instantOf(expr: string, time: number): Reply {
  if (/^\s*[\d.]+\s*$/.test(expr)) return ok({ resultType: 'scalar', result: [time, expr.trim()] })
  const result = metricsOf(expr).map((metric, i) =>
    isHistogram(expr) ? { metric, histogram: [time, histogram(i)] } : { metric, value: [time, String(20.5 * (i + 1))] })
  return ok({ resultType: 'vector', result })
}

/** Answers a request under /api/v1; null when it is none of those served. */
export function prometheus(path: string, q: URLSearchParams): Reply | null {
  const expr = q.get('query') ?? ''
  const open = (expr.match(/[({[]/g) ?? []).length
  const closed = (expr.match(/[)}\]]/g) ?? []).length
  if (expr !== '' && open !== closed) return bad(`invalid parameter "query": 1:${expr.length + 1}: parse error: unclosed left parenthesis`)
  switch (path) {
    case 'query': return instantOf(expr, Number(q.get('time') ?? Date.now() / 1000))
    case 'query_range': return rangeOf(expr, q)
    case 'format_query': return ok(expr.replace(/\s+/g, ' ').trim())
    case 'labels': return ok(LABELS)
    case 'label/__name__/values': return ok(Object.keys(METRICS))
    case 'metadata': return ok(Object.fromEntries(Object.entries(METRICS).map(([k, [type, help]]) => [k, [{ type, help, unit: '' }]])))
    case 'series': return ok(metricsOf(q.get('match[]') ?? ''))
    case 'status/flags': return ok({})
  }
  const label = /^label\/(\w+)\/values$/.exec(path)?.[1]
  return label ? ok(VALUES[label] ?? []) : null
}
