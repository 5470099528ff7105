// Answers of several queries as lines of one chart.
import type { MatrixSeries, QueryData } from '../api/prometheus.ts'
import { seriesName } from '../api/prometheus.ts'
import type { Line } from '../chart/data.ts'
import { quantile } from './histogram.ts'

export const MAX_LINES = 200
const QUANTILES = [0.5, 0.95, 0.99] as const
const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 3], [10, 3, 2, 3]]

export interface Chart {
  times: number[]
  lines: Line[]
  /** How many series the answers have; more than lines.length when only the first are drawn. */
  total: number
  hasHistograms: boolean
}

interface Raw {
  name: string
  values: Map<number, number>
}

/** Colours go round the palette; the second query's lines are dashed, and so on, to tell them apart. */
export function toChart(answers: readonly (QueryData | undefined)[], start: number, end: number, step: number): Chart {
  const raws: (Raw & { query: number })[] = []
  let hasHistograms = false
  answers.forEach((data, query) => {
    if (data?.resultType !== 'matrix') return
    const many = answers.length > 1
    for (const series of data.result) {
      if (series.histograms) hasHistograms = true
      for (const raw of rawsOf(series)) raws.push({ ...raw, name: many ? `${letter(query)}: ${raw.name}` : raw.name, query })
    }
  })
  const times = grid(start, end, step)
  const lines = raws.slice(0, MAX_LINES).map((raw, i) => ({
    label: raw.name, color: `var(--series-${i % 8})`, dash: DASHES[raw.query % DASHES.length], values: times.map((t) => raw.values.get(t) ?? null),
  }))
  return { times, lines, total: raws.length, hasHistograms }
}

/** A, B, C … for the queries of the page. */
export const letter = (i: number) => String.fromCharCode(65 + (i % 26))

/** The evaluation times of a range query. */
export function grid(start: number, end: number, step: number): number[] {
  const times: number[] = []
  for (let t = start; t <= end + 1e-9 && times.length < 11_000; t += step) times.push(Math.round(t * 1000) / 1000)
  return times
}

function rawsOf(series: MatrixSeries): Raw[] {
  const name = seriesName(series.metric)
  const out: Raw[] = []
  if (series.values) out.push({ name, values: new Map(series.values.map(([t, v]) => [t, finite(v)] as const).filter(isKnown)) })
  if (series.histograms) {
    for (const q of QUANTILES) {
      const points = series.histograms.map(([t, h]) => [t, quantile(h, q)] as const)
      out.push({ name: `p${q * 100} of ${name}`, values: new Map(points.filter(isKnown)) })
    }
  }
  return out
}

function finite(text: string): number | null {
  const v = Number(text)
  return Number.isFinite(v) ? v : null
}

const isKnown = (pair: readonly [number, number | null]): pair is readonly [number, number] => pair[1] !== null
