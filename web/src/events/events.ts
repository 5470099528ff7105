import type { InfiniteData } from '@tanstack/react-query'
import type { EventCounts, EventItem, EventList } from '../api/types.ts'
import type { Line } from '../chart/data.ts'
import type { Mark } from '../chart/options.ts'

const seconds = (stamp: string) => Date.parse(stamp) / 1000

/** All pages that were read, as one list. */
export function merged(data: InfiniteData<EventList, unknown> | undefined): EventItem[] {
  return data?.pages.flatMap((page) => page.events) ?? []
}

/** When each event happened first and last, for the lines across a chart. */
export function marksOf(events: readonly EventItem[]): Mark[] {
  return events.flatMap(({ first, last, type, reason, message }) => (
    [...new Set([first, last])].map((at) => ({ time: seconds(at), bad: type === 'Warning', text: `${reason}: ${message}` }))
  ))
}

const COLORS: Record<string, string> = { Warning: 'var(--critical)', Normal: 'var(--muted)' }

/** Counts by type as lines of a chart, warnings at the bottom. Each count stands in the middle of its stretch of time. */
export function linesOf({ start, step, groups }: EventCounts): { times: number[]; lines: Line[] } {
  const from = seconds(start)
  const length = Math.max(0, ...groups.map((g) => g.counts.length))
  const times = Array.from({ length }, (_, i) => from + (i + 0.5) * step)
  const known = groups.filter((g) => COLORS[g.value]).sort((a, b) => b.value.localeCompare(a.value))
  return { times, lines: known.map((g) => ({ label: g.value, color: COLORS[g.value]!, values: g.counts })) }
}

/** "3 times since 12:04:11" for what happened again and again, else nothing. */
export function repeated({ count, first, last }: EventItem, clock: (seconds: number) => string): string {
  return count > 1 || first !== last ? `${count} times since ${clock(seconds(first))}` : ''
}

export const lastSeconds = (event: EventItem) => seconds(event.last)

/** What a row is known by: the same event read again keeps its place. */
export const keyOf = (e: EventItem) => [e.first, e.source, e.reason, e.object.kind, e.object.namespace, e.object.name, e.object.uid, e.node, e.message].join('\n')
