import uPlot from 'uplot'
import { byteRate, bytes, cores, significant } from '../format/number.ts'
import type { Line } from './data.ts'

/** Something that happened at one instant, drawn across the chart. */
export interface Mark {
  time: number
  bad: boolean
  /** What it was, for the reader whose cursor is on it. */
  text?: string
}

interface Wishes {
  lines: readonly Line[]
  stacked: boolean
  format: (v: number | null) => string
  width: number
  height: number
  range: () => [number, number]
  onZoom: (from: number, to: number) => void
  onCursor: (index: number | null) => void
  marks: () => readonly Mark[]
}

/** The name that makes all charts of the page share their cursor. */
const SYNC_KEY = 'time'

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** Resolves "var(--x)", which a canvas does not know. */
export function canvasColor(color: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(color)?.[1]
  return name ? css(name) : color
}

export function chartOptions(wishes: Wishes): uPlot.Options {
  const { lines, stacked, format, width, height, range } = wishes
  const font = `11px ${css('--mantine-font-family') || 'sans-serif'}`
  const axis = { stroke: css('--muted'), font, grid: { stroke: css('--line'), width: 1 }, ticks: { show: false } }
  return {
    width: Math.max(50, width),
    height,
    padding: [8, 22, 0, 0],
    legend: { show: false },
    focus: { alpha: 0.2 },
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false },
      sync: { key: SYNC_KEY, setSeries: false },
    },
    scales: {
      x: { time: true, range: () => range() },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
    },
    axes: [
      { ...axis, space: 64, size: 26, values: clockValues },
      { ...axis, space: 34, size: 62, ...stepsOf(format) },
    ],
    // Stacked lines come from the top down: a lower one covers those that add nothing to it. Between two lies the share of the upper one.
    series: [{}, ...(stacked ? [...lines].reverse() : lines).map((line) => lineOptions(line, stacked))],
    bands: stacked ? lines.slice(1).map((_, i) => ({ series: [i + 1, i + 2] as [number, number] })) : [],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return
        wishes.onZoom(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'))
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
      }],
      draw: [(u) => drawMarks(u, wishes.marks())],
      setCursor: [(u) => wishes.onCursor(u.cursor.idx ?? null)],
    },
  }
}

// Bytes are told in powers of two, and their steps are round in these only.
const BINARY_STEPS = Array.from({ length: 70 }, (_, i) => 2 ** (i - 10))

/** The steps of the axis of values, and how they are written: a little use is a figure of its own here, and not "less than". */
function stepsOf(format: Wishes['format']): Partial<uPlot.Axis> {
  const write = format === cores ? significant : format
  return { values: (_, splits) => splits.map((v) => write(v)), ...(format === bytes || format === byteRate ? { incrs: BINARY_STEPS } : {}) }
}

/** A dashed line for each mark in sight; of those on one pixel the worst is drawn. */
function drawMarks(u: uPlot, marks: readonly Mark[]) {
  const { left, top, width, height } = u.bbox
  const at = new Map<number, boolean>()
  for (const mark of marks) {
    const x = Math.round(u.valToPos(mark.time, 'x', true))
    if (x >= left && x <= left + width) at.set(x, mark.bad || (at.get(x) ?? false))
  }
  u.ctx.save()
  u.ctx.setLineDash([4, 4])
  u.ctx.lineWidth = devicePixelRatio
  for (const [x, bad] of at) {
    u.ctx.strokeStyle = css(bad ? '--critical' : '--muted')
    u.ctx.beginPath()
    u.ctx.moveTo(x, top)
    u.ctx.lineTo(x, top + height)
    u.ctx.stroke()
  }
  u.ctx.restore()
}

function lineOptions(line: Line, stacked: boolean): uPlot.Series {
  const stroke = canvasColor(line.color)
  return {
    label: line.label,
    stroke,
    width: 1.5,
    dash: line.dash ? [...line.dash] : [],
    fill: stacked ? `color-mix(in srgb, ${stroke} 26%, transparent)` : undefined,
    points: { show: (u, i) => loneValues(u, i), size: 4, fill: stroke },
    spanGaps: false,
  }
}

/** A value between two gaps makes no line, so it gets a point. */
function loneValues(u: uPlot, seriesIndex: number): boolean {
  const values = u.data[seriesIndex] ?? []
  let known = 0
  for (let i = 0; i < values.length; i++) if (values[i] != null) known++
  return known > 0 && known <= 2
}

function clockValues(_: uPlot, splits: number[], __: number, ___: number, step: number): string[] {
  const pad = (n: number) => String(n).padStart(2, '0')
  let lastDay = ''
  return splits.map((s) => {
    const d = new Date(s * 1000)
    const day = `${pad(d.getMonth() + 1)}-${pad(d.getDate())}`
    const clock = `${pad(d.getHours())}:${pad(d.getMinutes())}${step < 60 ? `:${pad(d.getSeconds())}` : ''}`
    const newDay = lastDay !== '' && day !== lastDay
    lastDay = day
    if (step >= 86400) return day
    return newDay ? `${day} ${clock}` : clock
  })
}
