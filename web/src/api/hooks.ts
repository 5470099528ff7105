import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { TimeRange } from '../time/range.ts'
import { toSpan } from '../time/range.ts'
import { useTimeRange } from '../time/useTimeRange.ts'
import { apart, type Clusters } from '../ui/ids.ts'
import { api, type EventFilter, type PodFilter, type Span } from './client.ts'
import type { WorkloadList } from './types.ts'

/** Key of a range: what makes two requests the same question. */
export function rangeKey(range: TimeRange): string {
  return range.kind === 'relative' ? range.span : `${range.from}-${range.to}`
}

/** The server's own cluster and all that send to it, as the top bar last heard: many may ask for it, so it asks for nothing again by itself. */
export function useClusters(): Clusters {
  const { data } = useQuery({ queryKey: ['status'], queryFn: ({ signal }) => api.status(signal), staleTime: Infinity, retry: false })
  return useMemo(() => ({ home: data?.cluster ?? '', all: data?.clusters ?? [] }), [data])
}

const workloadsApart = (list: WorkloadList): WorkloadList => {
  const workloads = apart(list.workloads)
  return workloads === list.workloads ? list : { ...list, workloads }
}

export function useWorkloads() {
  const { range, interval } = useTimeRange()
  return useQuery({
    queryKey: ['workloads', rangeKey(range)],
    queryFn: ({ signal }) => api.workloads(toSpan(range), signal),
    refetchInterval: interval,
    placeholderData: keepPreviousData,
    select: workloadsApart,
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

/** Lists of thousands of pods are large, and change less often than traffic. */
const CALM_MS = 15_000

/** A question about nodes, pods or namespaces over the page's time range, asked again at its pace. */
function useThings<T>(key: readonly unknown[], ask: (span: Span, signal: AbortSignal) => Promise<T>, keep: boolean) {
  const { range, interval } = useTimeRange()
  return useQuery({
    queryKey: [...key, rangeKey(range)],
    queryFn: ({ signal }) => ask(toSpan(range), signal),
    refetchInterval: interval && Math.max(interval, CALM_MS),
    placeholderData: keep ? keepPreviousData : undefined,
  })
}

export const useNamespaces = () => useThings(['namespaces'], api.namespaces, true)
export const useNamespace = (id: string) => useThings(['namespace', id], (span, signal) => api.namespace(id, span, signal), false)
export const useNodes = () => useThings(['nodes'], api.nodes, true)
export const useNode = (id: string) => useThings(['node', id], (span, signal) => api.node(id, span, signal), false)
export const usePods = (filter: PodFilter) => useThings(['pods', filter], (span, signal) => api.pods(filter, span, signal), true)
export const usePod = (id: string) => useThings(['pod', id], (span, signal) => api.pod(id, span, signal), false)

const EVENTS_AT_ONCE = 200

/** Events of the range, the last first, in pages. Absolute instants come back with the first page, so that the next ones fit it. */
export function useEvents(filter: EventFilter) {
  const { range, interval } = useTimeRange()
  return useInfiniteQuery({
    queryKey: ['events', filter, rangeKey(range)],
    initialPageParam: { span: toSpan(range), after: undefined as string | undefined },
    queryFn: ({ pageParam, signal }) => api.events(filter, pageParam.span, EVENTS_AT_ONCE, pageParam.after, signal),
    getNextPageParam: (last) => (last.next ? { span: { start: last.start, end: last.end }, after: last.next } : undefined),
    // Pages beyond the first are of one instant: they are not read again while somebody reads them.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : interval),
    placeholderData: keepPreviousData,
  })
}

export function useEventCounts(filter: EventFilter, by: string) {
  const { range, interval } = useTimeRange()
  return useQuery({
    queryKey: ['event counts', filter, by, rangeKey(range)],
    queryFn: ({ signal }) => api.eventCounts(filter, by, toSpan(range), signal),
    refetchInterval: interval,
    placeholderData: keepPreviousData,
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
