// The part of the Prometheus HTTP API v1 that the query page uses.
import { getJSON, withParams } from './client.ts'

export type Labels = Record<string, string>
/** [boundaries rule, lower, upper, count]; rule 0 open-left, 1 open-right, 2 both open, 3 both closed. */
export type Bucket = [number, string, string, string]
export interface NativeHistogram {
  count: string
  sum: string
  buckets?: Bucket[]
}
export interface VectorSample {
  metric: Labels
  value?: [number, string]
  histogram?: [number, NativeHistogram]
}
export interface MatrixSeries {
  metric: Labels
  values?: [number, string][]
  histograms?: [number, NativeHistogram][]
}
export type QueryData =
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'scalar' | 'string'; result: [number, string] }

export interface Answer<T> {
  status: 'success'
  data: T
  warnings?: string[]
  infos?: string[]
}

export interface QueryResult {
  data: QueryData
  notes: string[]
}

async function query(path: string, params: Record<string, string>, signal?: AbortSignal): Promise<QueryResult> {
  const answer = await getJSON<Answer<QueryData>>(withParams(path, params), signal)
  return { data: answer.data, notes: [...(answer.warnings ?? []), ...(answer.infos ?? [])] }
}

/** time in Unix seconds. */
export const instantQuery = (expr: string, time: number, signal?: AbortSignal) =>
  query('/api/v1/query', { query: expr, time: String(time) }, signal)

/** start, end and step in seconds. */
export const rangeQuery = (expr: string, start: number, end: number, step: number, signal?: AbortSignal) =>
  query('/api/v1/query_range', { query: expr, start: String(start), end: String(end), step: String(step) }, signal)

/** The server's own formatting of an expression. */
export async function formatQuery(expr: string): Promise<string> {
  return (await getJSON<Answer<string>>(withParams('/api/v1/format_query', { query: expr }))).data
}

/** {a="b", c="d"} with the metric name in front, as Prometheus writes a series. */
export function seriesName(metric: Labels): string {
  const { __name__: name = '', ...rest } = metric
  const pairs = Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))
  if (pairs.length === 0) return name || '{}'
  return `${name}{${pairs.map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(', ')}}`
}
