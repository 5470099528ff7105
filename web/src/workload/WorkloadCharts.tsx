import { type ReactNode, useMemo } from 'react'
import type { Series, WorkloadDetail } from '../api/types.ts'
import { align } from '../chart/data.ts'
import type { Mark } from '../chart/options.ts'
import { TimeChart } from '../chart/TimeChart.tsx'
import { duration, percent, rate } from '../format/number.ts'
import { durationQuery, errorShareQuery, requestRateQuery } from '../query/links.ts'
import { Panel } from '../ui/Panel.tsx'
import { splitId } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import styles from './WorkloadPage.module.css'

const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'none', 'ok', 'failed', 'other'] as const
const CLASS_WORDS: Record<string, string> = { none: 'cut' }

/** Rate, errors and duration side by side, with one cursor, and what happened to the workload as lines across all three. */
export function WorkloadCharts({ data, marks }: { data: WorkloadDetail; marks: readonly Mark[] }) {
  const who = splitId(data.workload.id)
  const { rates, errors, durations } = useMemo(() => chartsOf(data.charts), [data])
  return (
    <div className={styles.three}>
      <ChartPanel title="Requests by status" query={requestRateQuery(who)}>
        <TimeChart label="Requests a second by status class" {...rates} format={rate} marks={marks} stacked />
      </ChartPanel>
      <ChartPanel title="Error share" query={errorShareQuery(who)}>
        <TimeChart label="Share of requests that failed" {...errors} format={percent} marks={marks} />
      </ChartPanel>
      <ChartPanel title="Duration" query={durationQuery(who, 0.95)}>
        <TimeChart label="Duration of requests" {...durations} format={duration} marks={marks} />
      </ChartPanel>
    </div>
  )
}

function ChartPanel({ title, query, children }: { title: string; query: string; children: ReactNode }) {
  return (
    <Panel title={title} aside={<Link to="/query" with={{ q: query }} aria-label={`Query: ${title}`}>Query</Link>}>{children}</Panel>
  )
}

function chartsOf({ rateByClass, errorShare, p50, p95, p99 }: WorkloadDetail['charts']) {
  const classes = CLASSES.filter((c) => rateByClass[c] !== undefined)
  return {
    rates: linesOf(classes.map((c) => [CLASS_WORDS[c] ?? c, `var(--class-${c})`, rateByClass[c]!])),
    errors: linesOf([['errors', 'var(--critical)', errorShare]]),
    durations: linesOf([['p50', 'var(--q50)', p50], ['p95', 'var(--q95)', p95], ['p99', 'var(--q99)', p99]]),
  }
}

function linesOf(list: [string, string, Series][]) {
  const { times, rows } = align(list.map(([, , series]) => series))
  return { times, lines: list.map(([label, color], i) => ({ label, color, values: rows[i]! })) }
}
