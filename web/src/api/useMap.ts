import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { toSpan } from '../time/range.ts'
import { useTimeRange } from '../time/useTimeRange.ts'
import { api, withParams } from './client.ts'
import { rangeKey } from './hooks.ts'
import { apart } from '../ui/ids.ts'
import type { ServiceMap } from './types.ts'

const RECONNECT_MS = 5000

/**
 * Follows the stream until the returned function is called. A browser reconnects by itself after a lost connection, but not after the
 * server refused one (too many streams, say), so that is tried again here.
 */
export function followMap(range: string, onMap: (map: ServiceMap) => void, onOpen: (open: boolean) => void): () => void {
  let source: EventSource
  let timer: ReturnType<typeof setTimeout> | undefined
  const connect = () => {
    source = new EventSource(withParams('/api/map/stream', { range }))
    source.addEventListener('map', (event) => {
      onOpen(true)
      onMap(JSON.parse((event as MessageEvent<string>).data) as ServiceMap)
    })
    source.addEventListener('error', () => {
      onOpen(false)
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, RECONNECT_MS)
    })
  }
  connect()
  return () => {
    clearTimeout(timer)
    source.close()
  }
}

const nodesApart = (map: ServiceMap): ServiceMap => {
  const nodes = apart(map.nodes)
  return nodes === map.nodes ? map : { ...map, nodes }
}

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
    const close = followMap(key, (map) => client.setQueryData(['map', key], map), setStreaming)
    return () => {
      close()
      setStreaming(false)
    }
  }, [client, follow, key])

  const query = useQuery({
    queryKey: ['map', key],
    queryFn: ({ signal }) => api.map(toSpan(range), signal),
    refetchInterval: streaming ? false : interval,
    placeholderData: (previous) => previous,
    select: nodesApart,
  })
  const liveness: Liveness = !follow ? 'still' : streaming ? 'live' : 'polling'
  return { ...query, liveness }
}
