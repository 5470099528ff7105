// The PromQL behind what the other pages show, so that a reader can take it further.
import type { MapEdge } from '../api/types.ts'
import { splitId } from '../ui/ids.ts'

type Matchers = Record<string, string | number>

/** metric{a="b",c="d"} with the values escaped as PromQL strings; `more` is a matcher that is no equality. */
export function selector(metric: string, matchers: Matchers, more?: string): string {
  const inside = Object.entries(matchers).map(([k, v]) => `${k}=${JSON.stringify(String(v))}`)
  return `${metric}{${[...inside, ...(more ? [more] : [])].join(',')}}`
}

type Who = Pick<ReturnType<typeof splitId>, 'namespace' | 'kind' | 'name'> & { cluster?: string }

/** The matcher of another cluster than the server's own; that one needs none while it is alone. */
const within = (cluster: string | undefined): Matchers => (cluster ? { cluster } : {})

const served = ({ cluster, namespace, kind, name }: Who): Matchers => ({ ...within(cluster), namespace, kind, workload: name })

export const requestRateQuery = (w: Who) => `sum by (code) (rate(${selector('vetch_workload_requests_total', served(w))}[1m]))`

export const durationQuery = (w: Who, quantile: number) =>
  `histogram_quantile(${quantile}, sum(rate(${selector('vetch_workload_request_duration_seconds', served(w))}[1m])))`

export const errorShareQuery = (w: Who) => {
  const all = `sum(rate(${selector('vetch_workload_requests_total', served(w))}[1m]))`
  const failed = `sum(rate(${selector('vetch_workload_failed_requests_total', served(w))}[1m]))`
  return `${failed} / ${all}`
}

export const routeQuery = (w: Who, protocol: string, method: string, route: string) =>
  `sum by (code) (rate(${selector('vetch_workload_requests_total', { ...served(w), protocol, method, route })}[1m]))`

export function edgeRateQuery(edge: MapEdge): string {
  const client = splitId(edge.client)
  const server = splitId(edge.server)
  const matchers = {
    ...within(client.cluster), client_namespace: client.namespace, client_kind: client.kind, client: client.name,
    server_namespace: server.namespace, server_kind: server.kind, server: server.name, port: edge.port, protocol: edge.protocol,
  }
  return edge.protocol === 'tcp' || edge.protocol === 'tls'
    ? `sum by (direction) (rate(${selector('vetch_edge_bytes_total', matchers)}[1m]))`
    : `sum by (code) (rate(${selector('vetch_edge_requests_total', matchers)}[1m]))`
}
