// Use against what is asked for, in numbers and words.
import type { Resource, Series } from '../api/types.ts'
import type { Line } from '../chart/data.ts'
import { align } from '../chart/data.ts'

/** What use is measured against: the limit, else what a node has, else what is requested; null where there is none of them. */
export function boundOf({ limits, capacity, requests }: Resource, of: 'node' | 'pod'): { value: number; word: string } | null {
  const choices = of === 'node' ? [[capacity, 'of capacity']] as const : [[limits, 'of limit'], [requests, 'of request']] as const
  for (const [value, word] of choices) if (value !== null && value > 0) return { value, word }
  return null
}

/** The share of the bound that is used; null where one of them is not known. */
export function shareOf(resource: Resource, of: 'node' | 'pod'): number | null {
  const bound = boundOf(resource, of)
  return bound && resource.used !== null ? resource.used / bound.value : null
}

/** "0.5 used, 1 requested, limit 2": what is known, in words. */
export function inWords(r: Resource, format: (v: number | null) => string): string {
  const parts: [number | null, string][] = [
    [r.used, 'used'], [r.requests, 'requested'], [r.limits, 'limit'], [r.allocatable, 'allocatable'], [r.capacity, 'capacity'],
  ]
  return parts.filter(([v]) => v !== null).map(([v, word]) => `${format(v)} ${word}`).join(', ')
}

// Bounds are dashed, so that they are not taken for use where colours are not told apart.
const LINES: Record<string, { label: string; color: string; dash?: readonly number[] }> = {
  Used: { label: 'used', color: 'var(--series-0)' },
  RSS: { label: 'resident', color: 'var(--series-6)' },
  Throttled: { label: 'throttled', color: 'var(--series-1)' },
  Requests: { label: 'requests', color: 'var(--ok)', dash: [6, 3] },
  Limits: { label: 'limits', color: 'var(--critical)', dash: [3, 3] },
  Capacity: { label: 'capacity', color: 'var(--muted)', dash: [10, 4] },
}

/** The lines of "cpu" or "memory" that the charts hold, use first. */
export function linesOf(charts: Record<string, Series>, what: 'cpu' | 'memory', leave: readonly string[] = []): { times: number[]; lines: Line[] } {
  const found = Object.keys(LINES).filter((name) => charts[what + name] !== undefined && !leave.includes(name))
  const { times, rows } = align(found.map((name) => charts[what + name]!))
  return { times, lines: found.map((name, i) => ({ ...LINES[name]!, values: rows[i]! })) }
}

/** How often containers were started again, where they were. */
export function restartLines({ restarts }: Record<string, Series>): { times: number[]; lines: Line[] } {
  if (!restarts?.values.some((v) => v !== null && v > 0)) return { times: [], lines: [] }
  const { times, rows } = align([restarts])
  return { times, lines: [{ label: 'restarts', color: 'var(--critical)', values: rows[0]! }] }
}

/** What goes in and out of disks and network, as lines. */
export function flowLines(charts: Record<string, Series>): { times: number[]; lines: Line[] } {
  const all: [string, string, string][] = [
    ['netIn', 'received', 'var(--series-0)'], ['netOut', 'sent', 'var(--series-1)'], ['diskRead', 'read', 'var(--series-2)'], ['diskWritten', 'written', 'var(--series-3)'],
  ]
  const found = all.filter(([name]) => charts[name] !== undefined)
  const { times, rows } = align(found.map(([name]) => charts[name]!))
  return { times, lines: found.map(([, label, color], i) => ({ label, color, values: rows[i]! })) }
}
