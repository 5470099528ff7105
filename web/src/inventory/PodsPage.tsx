import { NativeSelect, TextInput } from '@mantine/core'
import { useMemo } from 'react'
import { usePods } from '../api/hooks.ts'
import type { Health, Pod } from '../api/types.ts'
import { counted } from '../map/words.ts'
import { HEALTH_ORDER, HEALTH_WORDS } from '../ui/Health.tsx'
import { Icon } from '../ui/Icon.tsx'
import { apart } from '../ui/ids.ts'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useSlashFocus } from '../ui/useSlashFocus.ts'
import { useTitle } from '../ui/useTitle.ts'
import { useUrlState } from '../url/location.ts'
import { ALL_PODS, chosenPods, narrowed } from './filter.ts'
import styles from './inventory.module.css'
import { NoObjects } from './NoObjects.tsx'
import { PodTable } from './PodTable.tsx'

const NO_PODS: Pod[] = []

/** All pods. The search and the choices are of what was fetched, so they answer at once; only of very many the server is asked for those of a namespace. */
export default function PodsPage() {
  useTitle('Pods')
  const { params, set } = useUrlState()
  const search = useSlashFocus()
  const first = usePods(ALL_PODS).data
  const listed = useMemo(() => apart(first?.pods ?? NO_PODS), [first])
  const [text, space, health] = [params.get('q') ?? '', params.get('ns') ?? '', params.get('health') ?? '']
  const filter = useMemo(() => narrowed(first, listed, space), [first, listed, space])
  const { data, error, isPending, refetch } = usePods(filter)
  const all = data?.pods ?? NO_PODS
  const shown = useMemo(() => chosenPods(all, apart(all), { text, space: filter === ALL_PODS ? space : '', health }), [all, filter, text, space, health])
  const spaces = useMemo(() => [...new Set(listed.map((p) => p.namespace))].sort(), [listed])
  return (
    <div className={styles.full}>
      <h1 className="sr-only">Pods</h1>
      <div className={styles.filters} role="search">
        <TextInput ref={search} type="search" aria-label="Search pods" placeholder="Search pod, workload, node, status  ( / )" w={320} leftSection={<Icon name="search" />}
          value={text} onChange={(event) => set({ q: event.currentTarget.value || null }, { replace: true })} />
        <NativeSelect aria-label="Namespace" value={space} onChange={(event) => set({ ns: event.currentTarget.value || null })}
          data={[{ value: '', label: 'All namespaces' }, ...(space && !spaces.includes(space) ? [space, ...spaces] : spaces)]} />
        <NativeSelect aria-label="Health" value={health} onChange={(event) => set({ health: event.currentTarget.value || null })}
          data={[{ value: '', label: 'Any health' }, ...HEALTH_ORDER.map((h: Health) => ({ value: h, label: HEALTH_WORDS[h] }))]} />
        <span className="muted num" role="status">{counts(shown.length, all.length, data?.total ?? 0)}</span>
      </div>
      {error && <Failure error={error} retry={() => void refetch()} />}
      <div className={styles.table}>
        {isPending && !error ? <SkeletonRows rows={12} height={32} />
          : shown.length > 0 ? <PodTable pods={shown} height="100%" end={data!.end} />
          : all.length > 0 ? <Empty title="No pod fits the filter"><p>Take a word or a choice away.</p></Empty>
          : !error && <NoObjects what="pods" known={data?.known ?? false} />}
      </div>
    </div>
  )
}

function counts(shown: number, fetched: number, total: number): string {
  if (total > fetched) return `${shown} of the ${fetched} pods with most trouble, of ${total}`
  return shown === fetched ? counted(fetched, 'pod') : `${shown} of ${counted(fetched, 'pod')}`
}
