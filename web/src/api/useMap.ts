import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { toSpan } from '../time/range.ts'
import { useTimeRange } from '../time/useTimeRange.ts'
import { api, withParams } from './client.ts'
import { rangeKey } from './hooks.ts'
import type { ServiceMap } from './types.ts'

/** "live" while the stream is open, "polling" while it is not, "still" for a range that does not move. */
export type Liveness = 'live' | 'polling' | 'still'

/**
 * The service map of the present range. A relative range is followed by the server-sent events of /api/map/stream;
 * while the stream is down the map is fetched at the refresh interval instead.
 */
export function useMap() {
  const { range, interval } = useTimeRange()
  const client = useQueryClient()
  const key = rangeKey(range)
  const follow = range.kind === 'relative' && interval !== false
  const [streaming, setStreaming] = useState(false)

  useEffect(() => {
    if (!follow) return
    const source = new EventSource(withParams('/api/map/stream', { range: key }))
    source.addEventListener('map', (event) => {
      setStreaming(true)
      client.setQueryData(['map', key], JSON.parse((event as MessageEvent<string>).data) as ServiceMap)
    })
    source.addEventListener('error', () => setStreaming(false))
    return () => {
      source.close()
      setStreaming(false)
    }
  }, [client, follow, key])

  const query = useQuery({
    queryKey: ['map', key],
    queryFn: ({ signal }) => api.map(toSpan(range), signal),
    refetchInterval: streaming ? false : interval,
    placeholderData: (previous) => previous,
  })
  const liveness: Liveness = !follow ? 'still' : streaming ? 'live' : 'polling'
  return { ...query, liveness }
}
