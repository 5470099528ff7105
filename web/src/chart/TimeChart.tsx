import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useMemo, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { stamp } from '../time/clock.ts'
import { between, resolve } from '../time/range.ts'
import { useTimeRange } from '../time/useTimeRange.ts'
import { lastKnown, type Line, markAt, stack } from './data.ts'
import { chartOptions, type Mark } from './options.ts'
import styles from './TimeChart.module.css'

interface Props {
  label: string
  times: readonly number[]
  lines: readonly Line[]
  format: (v: number | null) => string
  height?: number
  /** Areas on top of each other, for parts of a whole. */
  stacked?: boolean
  /** Names of lines that are not drawn. */
  hidden?: ReadonlySet<string>
  onToggle?: (label: string) => void
  /** Without a legend of its own, where the page has a longer one. */
  legend?: boolean
  onCursor?: (index: number | null) => void
  /** The line that stands out while the others step back; not for stacked ones. */
  focus?: string | null
  /** What happened meanwhile, as lines across. */
  marks?: readonly Mark[]
}

const NO_MARKS: readonly Mark[] = []

/** Lines over the page's time range. The cursor is shared by all charts of the page; dragging over a chart zooms the time range. */
export function TimeChart(props: Props) {
  const { label, times, lines, format, height = 170, stacked = false, hidden, onToggle, legend = true, onCursor, focus = null, marks = NO_MARKS } = props
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const [own, setOwn] = useState<ReadonlySet<string>>(new Set())
  const [cursor, setCursor] = useState<number | null>(null)
  const { range, setRange } = useTimeRange()
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false })
  const off = hidden ?? own
  const shown = useMemo(() => lines.filter((l) => !off.has(l.label)), [lines, off])
  const data = useMemo(() => {
    const rows = stacked ? stack(shown.map((l) => l.values)).reverse() : shown.map((l) => l.values as (number | null)[])
    return [times as number[], ...rows] as uPlot.AlignedData
  }, [times, shown, stacked])
  const latest = useRef({ range, setRange, onCursor, data, marks })
  latest.current = { range, setRange, onCursor, data, marks }
  // A new drawing is needed only when the lines themselves are others; new values go into the old one.
  const shape = `${scheme} ${stacked} ${height} ${shown.map((l) => `${l.label}=${l.color}=${l.dash?.join()}`).join('|')}`

  useEffect(() => {
    const element = box.current!
    const made = new uPlot(chartOptions({
      lines: shown, stacked, format, height, width: element.clientWidth,
      range: () => {
        const { from, to } = resolve(latest.current.range, endOf(latest.current.data[0]))
        return [from, to]
      },
      marks: () => latest.current.marks,
      onZoom: (from, to) => latest.current.setRange(between(from, to)),
      onCursor: (index) => {
        setCursor(index)
        latest.current.onCursor?.(index)
      },
    }), latest.current.data, element)
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [shape]) // it stands for all that the options are made of
  useEffect(() => plot.current?.setData(data), [data, marks])
  useEffect(() => {
    const index = shown.findIndex((l) => l.label === focus)
    plot.current?.setSeries(index < 0 ? null : index + 1, { focus: true })
  }, [focus, shape])

  const at = cursor ?? lastKnown(lines)
  const mark = cursor === null ? undefined : markAt(marks, times, cursor)
  const toggle = onToggle ?? ((name: string) => setOwn(toggled(own, name)))
  return (
    <figure className={styles.figure}>
      <div ref={box} role="img" aria-label={summary(label, lines, format)} style={{ height }} className={styles.plot} />
      {legend && (
        <figcaption className={styles.legend}>
          {lines.map((line) => (
            <button key={line.label} type="button" aria-pressed={!off.has(line.label)} onClick={() => toggle(line.label)}>
              <i style={{ background: line.color }} /> {line.label} <b className="num">{at >= 0 ? format(line.values[at] ?? null) : ''}</b>
            </button>
          ))}
          {mark?.text && <span className={styles.mark} data-bad={mark.bad} title={mark.text}>{mark.text}</span>}
          <span className="muted num">{cursor !== null && times[cursor] !== undefined ? stamp(times[cursor]).slice(11) : ''}</span>
        </figcaption>
      )}
    </figure>
  )
}

const endOf = (times: ArrayLike<number> | undefined) => Math.max(times?.[times.length - 1] ?? 0, Math.floor(Date.now() / 1000) - 30)

export function toggled(set: ReadonlySet<string>, name: string): Set<string> {
  const next = new Set(set)
  if (!next.delete(name)) next.add(name)
  return next
}

function summary(label: string, lines: readonly Line[], format: (v: number | null) => string): string {
  const at = lastKnown(lines)
  if (at < 0) return `${label}: nothing in this time range`
  return `${label}, latest: ${lines.slice(0, 8).map((l) => `${l.label} ${format(l.values[at] ?? null)}`).join(', ')}`
}
