import { memo } from 'react'
import type { Series } from '../api/types.ts'

interface Props {
  series: Series
  color: string
  /** The value at the upper edge is at least this, so that what is nearly nothing looks like it. */
  floor?: number
  width?: number
  height?: number
}

/** SVG path commands of the values, with gaps where nothing is known; empty when nothing is. */
export function sparkPath(values: readonly (number | null)[], width: number, height: number, floor = 0): string {
  const known = values.filter((v): v is number => v !== null)
  if (known.length === 0) return ''
  const top = Math.max(...known, floor, Number.MIN_VALUE)
  const dx = values.length > 1 ? width / (values.length - 1) : 0
  let path = ''
  let pen = false
  values.forEach((v, i) => {
    if (v === null) {
      pen = false
      return
    }
    const y = height - 1 - (v / top) * (height - 2)
    const x = (i * dx).toFixed(1)
    // A lone value is drawn as a dash, else it could not be seen.
    path += pen ? `L${x} ${y.toFixed(1)}` : `M${x} ${y.toFixed(1)}${values[i + 1] == null ? 'h1.5' : ''}`
    pen = true
  })
  return path
}

/** A small line from zero to its own top. Decoration: the figure beside it says the value. */
export const Sparkline = memo(function Sparkline({ series, color, floor = 0, width = 84, height = 20 }: Props) {
  return (
    <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" style={{ flex: 'none', display: 'block' }}>
      <path d={sparkPath(series.values, width, height, floor)} fill="none" stroke={color} strokeWidth="1.25" strokeLinejoin="round" />
    </svg>
  )
})
