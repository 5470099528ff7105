import { keepPreviousData, useQuery } from '@tanstack/react-query'
import type { TimeRange } from '../time/range.ts'
import { toSpan } from '../time/range.ts'
import { useTimeRange } from '../time/useTimeRange.ts'
import { api } from './client.ts'

/** Key of a range: what makes two requests the same question. */
export function rangeKey(range: TimeRange): string {
  return range.kind === 'relative' ? range.span : `${range.from}-${range.to}`
}

export function useWorkloads() {
  const { range, interval } = useTimeRange()
  return useQuery({
    queryKey: ['workloads', rangeKey(range)],
    queryFn: ({ signal }) => api.workloads(toSpan(range), signal),
    refetchInterval: interval,
    placeholderData: keepPreviousData,
  })
}

export function useWorkload(id: string) {
  const { range, interval } = useTimeRange()
  return useQuery({
    queryKey: ['workload', id, rangeKey(range)],
    queryFn: ({ signal }) => api.workload(id, toSpan(range), signal),
    refetchInterval: interval,
    placeholderData: (previous) => (previous?.workload.id === id ? previous : undefined),
  })
}

export function useStatus() {
  return useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => api.status(signal),
    refetchInterval: 10_000,
    retry: false,
  })
}
