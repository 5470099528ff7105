import { describe, expect, it } from 'vitest'
import type { NativeHistogram } from '../api/prometheus.ts'
import { isSeconds, mean, quantile } from './histogram.ts'
import { durationQuery, edgeRateQuery, errorShareQuery, requestRateQuery, routeQuery, selector } from './links.ts'
import { grid, letter, MAX_LINES, toChart } from './results.ts'
import { rowsOf } from './TableResult.tsx'

const HISTOGRAM: NativeHistogram = { count: '100', sum: '250', buckets: [[0, '1', '2', '50'], [0, '2', '4', '50']] }

describe('native histograms', () => {
  it('have quantiles inside their buckets', () => {
    expect(quantile(HISTOGRAM, 0.5)).toBe(2)
    expect(quantile(HISTOGRAM, 0.75)).toBeCloseTo(2 * Math.SQRT2)
    expect(quantile(HISTOGRAM, 1)).toBe(4)
    expect(mean(HISTOGRAM)).toBe(2.5)
  })
  it('interpolate evenly at zero, and know nothing when empty', () => {
    expect(quantile({ count: '10', sum: '1', buckets: [[3, '-0.001', '0.001', '10']] }, 0.5)).toBeCloseTo(0)
    expect(quantile({ count: '0', sum: '0' }, 0.5)).toBeNull()
    expect(mean({ count: '0', sum: '0' })).toBeNull()
  })
  it.each([
    ['histogram_quantile(0.9, rate(vetch_workload_request_duration_seconds[1m]))', true], ['rate(x_seconds_count[1m])', false], ['up', false],
  ])('%s is in seconds: %s', (expr, want) => expect(isSeconds(expr)).toBe(want))
})

describe('toChart', () => {
  it('puts values on the grid and leaves out what is not a number', () => {
    const chart = toChart([{ resultType: 'matrix', result: [{ metric: { a: 'b' }, values: [[10, '1'], [20, 'NaN'], [30, '3']] }] }], 10, 30, 10)
    expect(chart.times).toEqual([10, 20, 30])
    expect(chart.lines).toMatchObject([{ label: '{a="b"}', values: [1, null, 3] }])
  })
  it('draws histograms as quantiles, and letters for several queries', () => {
    const chart = toChart([{ resultType: 'matrix', result: [{ metric: {}, histograms: [[10, HISTOGRAM]] }] }, undefined], 10, 10, 10)
    expect(chart.lines.map((l) => l.label)).toEqual(['A: p50 of {}', 'A: p95 of {}', 'A: p99 of {}'])
    expect(chart.hasHistograms).toBe(true)
  })
  it('draws a bounded number of lines and says how many there are', () => {
    const result = Array.from({ length: MAX_LINES + 50 }, (_, i) => ({ metric: { i: String(i) }, values: [[10, '1']] as [number, string][] }))
    const chart = toChart([{ resultType: 'matrix', result }], 10, 10, 10)
    expect([chart.lines.length, chart.total]).toEqual([MAX_LINES, MAX_LINES + 50])
  })
  it('has as many times as the server gives', () => expect(grid(0, 300, 1)).toHaveLength(301))
  it('names queries', () => expect([0, 1, 25].map(letter)).toEqual(['A', 'B', 'Z']))
})

describe('rowsOf', () => {
  it('reads every result type', () => {
    expect(rowsOf({ resultType: 'scalar', result: [5, '1.5'] })).toMatchObject({ rows: [{ text: '1.5' }], time: 5 })
    expect(rowsOf({ resultType: 'vector', result: [{ metric: {}, histogram: [7, HISTOGRAM] }] })).toMatchObject({ time: 7, rows: [{ histogram: HISTOGRAM }] })
    expect(rowsOf({ resultType: 'matrix', result: [{ metric: {}, values: [[0, '1']] }] }).rows[0]!.text).toMatch(/^1 @ /)
  })
})

describe('queries behind the pages', () => {
  const who = { namespace: '', kind: 'Process', name: 'ng"inx' }
  const matchers = '{namespace="",kind="Process",workload="ng\\"inx"'
  it('escape what they match', () => {
    expect(selector('up', { a: 'x\\y' })).toBe('up{a="x\\\\y"}')
    expect(requestRateQuery(who)).toBe(`sum by (code) (rate(vetch_workload_requests_total${matchers}}[1m]))`)
    expect(routeQuery(who, 'http', 'GET', '/')).toContain(',protocol="http",method="GET",route="/"}[1m]')
  })
  it('divide failures by all', () => {
    expect(errorShareQuery(who)).toBe(`sum(rate(vetch_workload_failed_requests_total${matchers}}[1m])) / sum(rate(vetch_workload_requests_total${matchers}}[1m]))`)
    expect(durationQuery(who, 0.95)).toMatch(/^histogram_quantile\(0\.95, sum\(rate\(/)
  })
  it('count requests of an edge whose protocol is known and bytes of another', () => {
    const edge = {
      id: 'x', client: '/Process/curl', server: 'shop/Deployment/web', port: 80, protocol: 'http', health: 'ok' as const,
      signals: { rate: 1, errorShare: 0, p50: null, p95: null, p99: null }, connectRate: null, failedConnectRate: null,
      bytesSentRate: null, bytesReceivedRate: null, retransmitRate: null, rtt: null,
    }
    expect(edgeRateQuery(edge)).toContain('vetch_edge_requests_total{client_namespace="",client_kind="Process",client="curl",server_namespace="shop"')
    expect(edgeRateQuery({ ...edge, protocol: 'tcp' })).toContain('sum by (direction) (rate(vetch_edge_bytes_total{')
  })
})
