import { useMemo } from 'react'
import type { MapEdge, ServiceMap } from '../api/types.ts'
import { EdgeTable } from '../ui/EdgeTable.tsx'

/** The map as a table of its edges: the same figures without a drawing. */
export function EdgeList({ map, search }: { map: Pick<ServiceMap, 'edges'>; search: string }) {
  const rows = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean)
    return map.edges.filter((e: MapEdge) => words.every((w) => `${e.client} ${e.server} ${e.protocol} ${e.port}`.toLowerCase().includes(w)))
  }, [map, search])
  return <EdgeTable label="Edges of the service map" edges={rows} show="both" sortParam="sort" height="100%" />
}
