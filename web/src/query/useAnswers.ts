import { keepPreviousData, useQueries } from '@tanstack/react-query'
import { rangeKey } from '../api/hooks.ts'
import { instantQuery, type QueryResult, rangeQuery } from '../api/prometheus.ts'
import { nowSeconds } from '../time/clock.ts'
import { niceStep, resolve } from '../time/range.ts'
import { useTimeRange } from '../time/useTimeRange.ts'
import type { View } from './useQueryState.ts'

const POINTS = 300

export interface Ask {
  start: number
  end: number
  step: number
}

export interface Answered {
  result: QueryResult
  ask: Ask
}

/** The answer of each query: over the page's time range for a graph, at its end for a table. Empty queries are not asked. */
export function useAnswers(queries: readonly string[], view: View) {
  const { range, interval } = useTimeRange()
  return useQueries({
    queries: queries.map((expr) => ({
      queryKey: ['promql', expr, view, rangeKey(range)],
      enabled: expr.trim() !== '',
      refetchInterval: interval,
      placeholderData: keepPreviousData,
      queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Answered> => {
        const { from, to } = resolve(range, nowSeconds())
        const step = niceStep(to - from, POINTS)
        // On whole steps, so that the points stay where they are from one refresh to the next.
        const ask = { start: Math.ceil(from / step) * step, end: Math.floor(to / step) * step, step }
        const result = view === 'graph' ? await rangeQuery(expr, ask.start, ask.end, step, signal) : await instantQuery(expr, to, signal)
        return { result, ask }
      },
    })),
  })
}
