import { useMemo } from 'react'
import type { Labels, NativeHistogram, QueryData } from '../api/prometheus.ts'
import { exact } from '../format/number.ts'
import { stamp } from '../time/clock.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { Panel } from '../ui/Panel.tsx'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { isSeconds } from './histogram.ts'
import { HistogramCell } from './HistogramCell.tsx'
import styles from './QueryPage.module.css'
import { letter } from './results.ts'

interface Props {
  queries: readonly string[]
  answers: readonly (QueryData | undefined)[]
}

interface Row {
  key: string
  metric: Labels
  text: string
  histogram: NativeHistogram | null
}

/** The values at the end of the time range, a table for each query. */
export function TableResult({ queries, answers }: Props) {
  return queries.map((expr, i) => {
    if (expr.trim() === '') return null
    const data = answers[i]
    const title = `${letter(i)}: ${expr}`
    if (!data) return <Panel key={i} title={title} flush><SkeletonRows rows={3} height={30} /></Panel>
    return <OneTable key={i} title={title} expr={expr} data={data} index={i} />
  })
}

export function rowsOf(data: QueryData): { rows: Row[]; time: number | null } {
  if (data.resultType === 'vector') {
    const rows = data.result.map((s, i) => ({ key: String(i), metric: s.metric, text: s.value?.[1] ?? '', histogram: s.histogram?.[1] ?? null }))
    const first = data.result[0]
    return { rows, time: first?.value?.[0] ?? first?.histogram?.[0] ?? null }
  }
  if (data.resultType === 'matrix') {
    // A range vector, such as metric[5m]: the samples as "value @ time".
    const rows = data.result.map((s, i) => ({ key: String(i), metric: s.metric, text: (s.values ?? []).map(([t, v]) => `${v} @ ${stamp(t)}`).join(', '), histogram: s.histograms?.at(-1)?.[1] ?? null }))
    return { rows, time: null }
  }
  return { rows: [{ key: '0', metric: {}, text: data.result[1], histogram: null }], time: data.result[0] }
}

function OneTable({ title, expr, data, index }: { title: string; expr: string; data: QueryData; index: number }) {
  const { rows, time } = useMemo(() => rowsOf(data), [data])
  const seconds = isSeconds(expr)
  const tall = rows.some((r) => r.histogram !== null)
  const columns = useMemo<readonly Column<Row>[]>(() => [
    { id: 'series', header: 'Series', value: (r) => JSON.stringify(r.metric), cell: (r) => <SeriesName metric={r.metric} wrap={tall} /> },
    {
      id: 'value', header: 'Value', numeric: true, width: tall ? '32rem' : '14rem', value: (r) => (r.histogram ? Number(r.histogram.count) : Number(r.text)),
      cell: (r) => (r.histogram ? <HistogramCell histogram={r.histogram} seconds={seconds} /> : <span title={r.text}>{exact(r.text)}</span>),
    },
  ], [tall, seconds])
  return (
    <Panel title={title} flush aside={<span className="num">{rows.length} series{time !== null && ` at ${stamp(time)}`}</span>}>
      {rows.length === 0 ? <p className={styles.hint}>No series at this time. Check the metric’s name and labels, or take another time.</p>
        : <DataTable label={title} columns={columns} rows={rows} rowKey={(r) => r.key} sortParam={`table${index}`} rowHeight={tall ? 64 : 28} maxHeight="60vh" />}
    </Panel>
  )
}

function SeriesName({ metric, wrap }: { metric: Labels; wrap: boolean }) {
  const { __name__: name, ...rest } = metric
  const pairs = Object.entries(rest).sort()
  return (
    <span className={styles.series} data-wrap={wrap} title={pairs.map(([k, v]) => `${k}="${v}"`).join(', ')}>
      <b>{name}</b>{'{'}
      {pairs.map(([k, v], i) => <span key={k}>{i > 0 && ', '}<i>{k}</i>="{v}"</span>)}
      {'}'}
    </span>
  )
}
