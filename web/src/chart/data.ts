// Lines on one time axis.
import type { Series } from '../api/types.ts'

export interface Line {
  label: string
  color: string
  values: readonly (number | null)[]
  dash?: readonly number[]
}

export interface Grid {
  times: number[]
  rows: (number | null)[][]
}

/** Puts series on one time axis: the union of their times. What a series does not have at a time is null. */
export function align(list: readonly Series[]): Grid {
  const all = new Set<number>()
  for (const s of list) s.values.forEach((_, i) => all.add(s.start + i * s.step))
  const times = [...all].sort((a, b) => a - b)
  const at = new Map(times.map((t, i) => [t, i]))
  const rows = list.map((s) => {
    const row: (number | null)[] = new Array<number | null>(times.length).fill(null)
    s.values.forEach((v, i) => {
      row[at.get(s.start + i * s.step)!] = v
    })
    return row
  })
  return { times, rows }
}

/** Each row on top of the rows before it; null counts as nothing, but where all are null the sum is null too. */
export function stack(rows: readonly (readonly (number | null)[])[]): (number | null)[][] {
  const length = rows[0]?.length ?? 0
  const known = Array.from({ length }, (_, i) => rows.some((r) => r[i] != null))
  const sums = new Array<number>(length).fill(0)
  return rows.map((row) => row.map((v, i) => {
    sums[i] = sums[i]! + (v ?? 0)
    return known[i] ? sums[i]! : null
  }))
}

/** What is marked between the middles of a time's neighbours: the worst of it. */
export function markAt<M extends { time: number; bad: boolean }>(marks: readonly M[], times: readonly number[], index: number): M | undefined {
  const half = ((times[1] ?? 0) - (times[0] ?? 0)) / 2
  const near = marks.filter((m) => Math.abs(m.time - times[index]!) <= half)
  return near.find((m) => m.bad) ?? near[0]
}

/** Index of the last time at which any line has a value; -1 for none. */
export function lastKnown(lines: readonly Pick<Line, 'values'>[]): number {
  const length = lines[0]?.values.length ?? 0
  for (let i = length - 1; i >= 0; i--) if (lines.some((l) => l.values[i] != null)) return i
  return -1
}
