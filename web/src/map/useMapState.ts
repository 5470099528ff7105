import { useMemo } from 'react'
import { useUrlState } from '../url/location.ts'
import type { Grouping } from './graph.ts'

export interface MapState {
  show: 'map' | 'list'
  search: string
  /** The chosen node or edge; at most one of the two. */
  node: string | null
  edge: string | null
  grouping: Grouping
  setShow: (show: 'map' | 'list') => void
  setSearch: (text: string) => void
  choose: (node: string | null, edge: string | null) => void
  setGrouping: (on: boolean) => void
  unfold: (namespace: string, open: boolean) => void
}

/** The state of the map in the URL: show=list, q, node, edge, group=namespace, open (repeated), view. */
export function useMapState(): MapState {
  const { params, set } = useUrlState()
  return useMemo(() => {
    const open = params.getAll('open')
    return {
      show: params.get('show') === 'list' ? 'list' : 'map',
      search: params.get('q') ?? '',
      node: params.get('node'),
      edge: params.get('edge'),
      grouping: { on: params.get('group') === 'namespace', open: new Set(open) },
      setShow: (show) => set({ show: show === 'list' ? 'list' : null }),
      setSearch: (text) => set({ q: text || null }, { replace: true }),
      choose: (node, edge) => set({ node, edge }),
      setGrouping: (on) => set({ group: on ? 'namespace' : null, open: null, view: null }),
      unfold: (namespace, unfolded) => {
        const rest = open.filter((ns) => ns !== namespace)
        set({ open: unfolded ? [...rest, namespace] : rest, node: null, edge: null })
      },
    }
  }, [params, set])
}
