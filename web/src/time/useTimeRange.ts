import { useCallback, useMemo } from 'react'
import { type Change, useUrlState } from '../url/location.ts'
import { DEFAULT_RANGE, parseSpan, type TimeRange } from './range.ts'

export const REFRESH_CHOICES = ['off', '5s', '10s', '30s', '1m'] as const
const DEFAULT_REFRESH = '5s'

/** Reads range=15m or from=…&to=… ; what does not make sense counts as not given. */
export function rangeFromParams(params: URLSearchParams): TimeRange {
  const from = Number(params.get('from') ?? NaN)
  const to = Number(params.get('to') ?? NaN)
  if (Number.isFinite(from) && Number.isFinite(to) && from > 0 && to > from) return { kind: 'absolute', from, to }
  const span = params.get('range')
  return span !== null && parseSpan(span) !== null ? { kind: 'relative', span } : DEFAULT_RANGE
}

export function rangeToChange(range: TimeRange): Change {
  if (range.kind === 'absolute') return { range: null, from: String(range.from), to: String(range.to) }
  const isDefault = DEFAULT_RANGE.kind === 'relative' && range.span === DEFAULT_RANGE.span
  return { range: isDefault ? null : range.span, from: null, to: null }
}

/** Milliseconds between refreshes; false for none. An absolute range does not change, so it is not refreshed. */
export function refreshInterval(range: TimeRange, choice: string): number | false {
  if (range.kind === 'absolute' || choice === 'off') return false
  return choice === '1m' ? 60_000 : Number.parseInt(choice, 10) * 1000
}

export function useTimeRange() {
  const { params, set } = useUrlState()
  const range = useMemo(() => rangeFromParams(params), [params])
  const wanted = params.get('refresh') ?? DEFAULT_REFRESH
  const refresh = (REFRESH_CHOICES as readonly string[]).includes(wanted) ? wanted : DEFAULT_REFRESH
  const setRange = useCallback((next: TimeRange) => set(rangeToChange(next)), [set])
  const setRefresh = useCallback(
    (next: string) => set({ refresh: next === DEFAULT_REFRESH ? null : next }, { replace: true }),
    [set],
  )
  return { range, setRange, refresh, setRefresh, interval: refreshInterval(range, refresh) }
}
