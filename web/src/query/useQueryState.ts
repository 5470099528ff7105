import { useMemo } from 'react'
import { useUrlState } from '../url/location.ts'

export type View = 'graph' | 'table'

/** The state of the query page in the URL: q (repeated), view=table. */
export function useQueryState() {
  const { params, set } = useUrlState()
  return useMemo(() => {
    const all = params.getAll('q')
    return {
      queries: all.length > 0 ? all : [''],
      view: (params.get('view') === 'table' ? 'table' : 'graph') as View,
      setQueries: (queries: readonly string[]) => set({ q: queries }),
      setView: (view: View) => set({ view: view === 'table' ? 'table' : null }),
    }
  }, [params, set])
}
