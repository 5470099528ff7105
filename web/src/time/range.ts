// One time range for the whole page: relative ("15m", ends now) or absolute (two instants in Unix seconds).
export type TimeRange = { kind: 'relative'; span: string } | { kind: 'absolute'; from: number; to: number }

export const DEFAULT_RANGE: TimeRange = { kind: 'relative', span: '5m' }
export const PRESETS = ['1m', '5m', '15m', '30m', '1h', '3h', '6h', '12h', '1d', '2d', '7d', '30d'] as const

const UNIT_SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 }
const UNIT_WORDS: Record<string, string> = { s: 'second', m: 'minute', h: 'hour', d: 'day', w: 'week' }
export const MIN_SECONDS = 10
const MAX_SECONDS = 366 * 86400

/** "90m" or "1h30m" in seconds; null when it is none or out of bounds. */
export function parseSpan(text: string): number | null {
  const compactText = text.trim().replace(/\s+/g, '')
  if (!/^(\d+[smhdw])+$/.test(compactText)) return null
  let total = 0
  for (const [, n, unit] of compactText.matchAll(/(\d+)([smhdw])/g)) total += Number(n) * (UNIT_SECONDS[unit!] ?? 0)
  return total >= MIN_SECONDS && total <= MAX_SECONDS ? total : null
}

/** Seconds in the largest unit that divides them: 5400 is "90m". */
export function formatSpan(seconds: number): string {
  const whole = Math.max(MIN_SECONDS, Math.round(seconds))
  for (const unit of ['d', 'h', 'm']) {
    const size = UNIT_SECONDS[unit]!
    if (whole % size === 0) return `${whole / size}${unit}`
  }
  return `${whole}s`
}

/** "Last 15 minutes". */
export function spanInWords(span: string): string {
  const match = /^(\d+)([smhdw])$/.exec(span)
  if (!match) return `Last ${span}`
  const n = Number(match[1])
  const word = UNIT_WORDS[match[2]!]
  return n === 1 ? `Last ${word}` : `Last ${n} ${word}s`
}

/** The range in Unix seconds, seen from `now`. */
export function resolve(range: TimeRange, now: number): { from: number; to: number } {
  if (range.kind === 'absolute') return { from: range.from, to: range.to }
  return { from: now - (parseSpan(range.span) ?? 300), to: now }
}

export function lengthOf(range: TimeRange): number {
  return range.kind === 'absolute' ? range.to - range.from : (parseSpan(range.span) ?? 300)
}

/** start and end for the API. A relative range stays relative: the server's clock counts, not the browser's. */
export function toSpan(range: TimeRange): { start: string; end?: string } {
  if (range.kind === 'relative') return { start: `-${range.span}` }
  return { start: String(range.from), end: String(range.to) }
}

/** An absolute range between two instants in any order, at least MIN_SECONDS long, in whole seconds. */
export function between(a: number, b: number): TimeRange {
  const from = Math.floor(Math.min(a, b))
  const to = Math.ceil(Math.max(a, b))
  const lack = MIN_SECONDS - (to - from)
  if (lack <= 0) return { kind: 'absolute', from, to }
  return { kind: 'absolute', from: from - Math.ceil(lack / 2), to: to + Math.floor(lack / 2) }
}

/** The range moved by `share` of its length; never beyond now, where it becomes relative again. */
export function shift(range: TimeRange, share: number, now: number): TimeRange {
  const { from, to } = resolve(range, now)
  const by = (to - from) * share
  if (to + by >= now) return { kind: 'relative', span: formatSpan(to - from) }
  return between(from + by, to + by)
}

/** Twice as long around the same middle, or ending now. */
export function zoomOut(range: TimeRange, now: number): TimeRange {
  const length = Math.min(MAX_SECONDS, lengthOf(range) * 2)
  if (range.kind === 'relative') return { kind: 'relative', span: formatSpan(length) }
  const middle = (range.from + range.to) / 2
  const to = Math.min(now, middle + length / 2)
  return between(to - length, to)
}

/** A step for range queries: about `points` of them, rounded to what a reader can add up. Samples are 5 s apart, so a finer step would show nothing more. */
export function niceStep(seconds: number, points: number): number {
  const raw = seconds / Math.max(1, points)
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]
  return steps.find((s) => s >= raw) ?? Math.ceil(raw / 86400) * 86400
}
