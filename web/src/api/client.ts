// The one way to the server: every request of the page goes through getJSON, and every failure is an ApiError with a sentence for the reader.
import type {
  EventCounts, EventList, NamespaceDetail, NamespaceList, NodeDetail, NodeList, PodDetail, PodList, ServiceMap, Status, WorkloadDetail, WorkloadList,
} from './types.ts'

/** What went wrong, in the server's own words where it gave some. `status` is 0 when no answer came. */
export class ApiError extends Error {
  readonly status: number
  readonly type: string
  constructor(message: string, status: number, type: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.type = type
  }
}

export type Params = Record<string, string | number | undefined | readonly string[]>

/** Builds path?params, leaving out what is undefined or empty. A list repeats its key. */
export function withParams(path: string, params: Params): string {
  const out = new URLSearchParams()
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined || value === '') continue
    if (Array.isArray(value)) value.forEach((v) => out.append(key, String(v)))
    else out.set(key, String(value))
  }
  const text = out.toString()
  return text ? `${path}?${text}` : path
}

function errorOf(status: number, body: string): ApiError {
  try {
    const parsed = JSON.parse(body) as { error?: unknown; errorType?: unknown }
    if (typeof parsed.error === 'string' && parsed.error !== '') {
      return new ApiError(parsed.error, status, typeof parsed.errorType === 'string' ? parsed.errorType : 'error')
    }
  } catch {
    // Not ours: a proxy's page, or an empty body. The status line has to do.
  }
  const text = body.trim()
  const plain = text !== '' && text.length < 200 && !text.startsWith('<')
  return new ApiError(plain ? text : `The server answered with status ${status}.`, status, 'http')
}

/** Fetches JSON. Aborts through `signal` are passed on as they are. */
export async function getJSON<T>(url: string, signal?: AbortSignal): Promise<T> {
  let response: Response
  try {
    response = await fetch(url, { signal: signal ?? null, headers: { Accept: 'application/json' } })
  } catch (err) {
    if (signal?.aborted) throw err
    throw new ApiError('The vetch server does not answer. Is it running, and is this address still right?', 0, 'network')
  }
  const body = await response.text()
  if (!response.ok) throw errorOf(response.status, body)
  try {
    return JSON.parse(body) as T
  } catch {
    throw new ApiError('The answer is not JSON. Something between this page and vetch changed it.', response.status, 'decode')
  }
}

/** start and end as the API takes them: Unix seconds or relative ("-15m"). */
export interface Span {
  start: string
  end?: string | undefined
}

/** Which events: as the parameters of /api/events, with what is empty left out. */
export interface EventFilter {
  text?: string
  type?: string
  reason?: string
  cluster?: string
  namespace?: string | readonly string[]
  kind?: string
  name?: string
  node?: string
  workload?: string
}

/** Which pods: as the parameters of /api/pods, with what is empty left out. */
export interface PodFilter {
  cluster?: string
  namespace?: string
  node?: string
  workload?: string
}

export const api = {
  namespaces: (span: Span, signal?: AbortSignal) => getJSON<NamespaceList>(withParams('/api/namespaces', { ...span }), signal),
  namespace: (id: string, span: Span, signal?: AbortSignal) => getJSON<NamespaceDetail>(withParams('/api/namespace', { id, ...span }), signal),
  nodes: (span: Span, signal?: AbortSignal) => getJSON<NodeList>(withParams('/api/nodes', { ...span }), signal),
  node: (id: string, span: Span, signal?: AbortSignal) => getJSON<NodeDetail>(withParams('/api/node', { id, ...span }), signal),
  pods: (filter: PodFilter, span: Span, signal?: AbortSignal) => getJSON<PodList>(withParams('/api/pods', { ...filter, ...span }), signal),
  pod: (id: string, span: Span, signal?: AbortSignal) => getJSON<PodDetail>(withParams('/api/pod', { id, ...span }), signal),
  events: (filter: EventFilter, span: Span, limit: number, after?: string, signal?: AbortSignal) =>
    getJSON<EventList>(withParams('/api/events', { ...filter, ...span, limit, after }), signal),
  eventCounts: (filter: EventFilter, by: string, span: Span, signal?: AbortSignal) =>
    getJSON<EventCounts>(withParams('/api/events/counts', { ...filter, by, ...span }), signal),
  map: (span: Span, signal?: AbortSignal) => getJSON<ServiceMap>(withParams('/api/map', { ...span }), signal),
  workloads: (span: Span, signal?: AbortSignal) => getJSON<WorkloadList>(withParams('/api/workloads', { ...span }), signal),
  workload: (id: string, span: Span, signal?: AbortSignal) =>
    getJSON<WorkloadDetail>(withParams('/api/workload', { id, ...span }), signal),
  status: (signal?: AbortSignal) => getJSON<Status>('/api/status', signal),
}
