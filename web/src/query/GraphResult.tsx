import { useMemo, useState } from 'react'
import { lastKnown, type Line } from '../chart/data.ts'
import { TimeChart, toggled } from '../chart/TimeChart.tsx'
import { compact, duration, exact, UNKNOWN } from '../format/number.ts'
import { stamp } from '../time/clock.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { Panel } from '../ui/Panel.tsx'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { Empty } from '../ui/States.tsx'
import { useSame } from '../ui/useSame.ts'
import { isSeconds } from './histogram.ts'
import styles from './QueryPage.module.css'
import { MAX_LINES, toChart } from './results.ts'
import type { Answered } from './useAnswers.ts'

interface Props {
  queries: readonly string[]
  answers: readonly (Answered | undefined)[]
  /** A first answer is on its way. */
  waiting: boolean
}

interface Entry extends Line {
  now: number | null
  max: number | null
}

const NONE: ReadonlySet<string> = new Set()

/** All queries in one chart, with a legend that can be sorted and whose lines can be switched. */
export function GraphResult({ queries, answers, waiting }: Props) {
  const [hidden, setHidden] = useState<ReadonlySet<string>>(NONE)
  const [cursor, setCursor] = useState<number | null>(null)
  const [focus, setFocus] = useState<string | null>(null)
  const given = useSame(answers)
  const asks = useMemo(() => given.flatMap((a) => (a ? [a.ask] : [])), [given])
  const step = asks[0]?.step ?? 1
  const chart = useMemo(() => {
    const [start, end] = [Math.min(...asks.map((a) => a.start)), Math.max(...asks.map((a) => a.end))]
    return toChart(given.map((a) => a?.result.data), start, end, step)
  }, [given, asks, step])
  const isTime = queries.filter(Boolean).every(looksLikeTime)
  const format = isTime ? duration : compact
  if (asks.length === 0) return waiting ? <Panel title="Graph" flush><SkeletonRows rows={6} height={40} /></Panel> : null
  if (chart.lines.length === 0) {
    return <Empty title="No series in this time range"><p>Check the metric’s name and labels, or take a longer time range. The editor completes both.</p></Empty>
  }
  const at = cursor ?? lastKnown(chart.lines)
  return (
    <Panel title={`${chart.total} series`} flush
      aside={<span className="num">{chart.times[at] !== undefined ? stamp(chart.times[at]) : ''} · step {step} s</span>}>
      <TimeChart label="Result of the queries" times={chart.times} lines={chart.lines} format={format} height={320} legend={false} hidden={hidden} onCursor={setCursor} focus={focus} />
      {chart.hasHistograms && <p className={styles.hint}>Native histograms are drawn as p50, p95 and p99 of their buckets. For a rate take histogram_quantile(0.95, rate(…[1m])), for all buckets the table.</p>}
      {chart.total > chart.lines.length && <p className={styles.hint}>The first {MAX_LINES} of {chart.total} lines are drawn. Take topk(…) or sum by (…) for fewer.</p>}
      <Legend lines={chart.lines} at={at} format={format} hidden={hidden} point={setFocus} toggle={(name, only) => setHidden(only ? allBut(chart.lines, name, hidden) : toggled(hidden, name))} />
    </Panel>
  )
}

/** Seconds of a duration, not how many there were of them. */
function looksLikeTime(expr: string): boolean {
  return isSeconds(expr) && !/\b(count|histogram_count|histogram_fraction)\b/.test(expr)
}

/** Everything but one; everything again when that one is alone already. */
function allBut(lines: readonly Line[], name: string, hidden: ReadonlySet<string>): Set<string> {
  const others = lines.map((l) => l.label).filter((l) => l !== name)
  return others.every((l) => hidden.has(l)) && !hidden.has(name) ? new Set() : new Set(others)
}

interface LegendProps {
  lines: readonly Line[]
  at: number
  format: (v: number | null) => string
  hidden: ReadonlySet<string>
  toggle: (name: string, only: boolean) => void
  /** The pointer or the keyboard is on a line's name; null: on none. */
  point: (name: string | null) => void
}

function Legend({ lines, at, format, hidden, toggle, point }: LegendProps) {
  const entries = useMemo<Entry[]>(() => lines.map((l) => ({ ...l, now: l.values[at] ?? null, max: maxOf(l.values) })), [lines, at])
  const columns = useMemo<readonly Column<Entry>[]>(() => [
    {
      id: 'series', header: 'Series', title: 'Click to hide, Ctrl+click to show only this one', value: (e) => e.label,
      cell: (e) => (
        <button type="button" className={styles.line} aria-pressed={!hidden.has(e.label)} title={e.label}
          onPointerEnter={() => point(e.label)} onPointerLeave={() => point(null)} onFocus={() => point(e.label)} onBlur={() => point(null)}
          onClick={(event) => toggle(e.label, event.ctrlKey || event.metaKey)}>
          <svg width="18" height="4" aria-hidden="true"><line x1="0" x2="18" y1="2" y2="2" stroke={e.color} strokeWidth="3" strokeDasharray={e.dash?.join(' ')} /></svg>
          <span>{e.label}</span>
        </button>
      ),
    },
    { id: 'now', header: 'Value', title: 'At the cursor, else the latest', numeric: true, width: '8rem', value: (e) => e.now, cell: (e) => <span title={e.now === null ? '' : exact(String(e.now))}>{e.now === null ? UNKNOWN : format(e.now)}</span> },
    { id: 'max', header: 'Max', numeric: true, width: '8rem', value: (e) => e.max, cell: (e) => format(e.max) },
  ], [hidden, toggle, format, point])
  return <div className={styles.legend}><DataTable label="Legend" columns={columns} rows={entries} rowKey={(e) => e.label} sortParam="legend" rowHeight={26} maxHeight="20rem" /></div>
}

function maxOf(values: readonly (number | null)[]): number | null {
  return values.reduce<number | null>((max, v) => (v !== null && (max === null || v > max) ? v : max), null)
}
