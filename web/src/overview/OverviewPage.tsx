import { NativeSelect, TextInput } from '@mantine/core'
import { useMemo } from 'react'
import { useWorkloads } from '../api/hooks.ts'
import type { Health, WorkloadSummary } from '../api/types.ts'
import { Icon } from '../ui/Icon.tsx'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { Empty, Failure, NoTraffic } from '../ui/States.tsx'
import { useSlashFocus } from '../ui/useSlashFocus.ts'
import { useTitle } from '../ui/useTitle.ts'
import { useUrlState } from '../url/location.ts'
import { type Filter, filterFromParams, matches, totalsOf } from './filter.ts'
import styles from './OverviewPage.module.css'
import { TotalsBar } from './TotalsBar.tsx'
import { WorkloadTable } from './WorkloadTable.tsx'

const NO_WORKLOADS: WorkloadSummary[] = []

export function OverviewPage() {
  useTitle('Overview')
  const { data, error, isPending, refetch } = useWorkloads()
  const { params, set } = useUrlState()
  const filter = useMemo(() => filterFromParams(params), [params])
  const all = data?.workloads ?? NO_WORKLOADS
  const base = useMemo(() => all.filter((w) => matches(w, filter, false)), [all, filter])
  const shown = useMemo(() => base.filter((w) => matches(w, filter)), [base, filter])
  const toggle = (health: Health) => {
    const next = filter.health.includes(health) ? filter.health.filter((h) => h !== health) : [...filter.health, health]
    set({ health: next.length > 0 ? next.join(',') : null })
  }
  return (
    <div className={styles.page}>
      <h1 className="sr-only">Overview</h1>
      <TotalsBar totals={totalsOf(base)} chosen={filter.health} toggle={toggle} loading={isPending} />
      <Filters all={all} filter={filter} shown={shown.length} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <div className={styles.table}>
        {isPending ? <SkeletonRows rows={12} height={38} />
          : shown.length > 0 ? <WorkloadTable workloads={shown} />
          : all.length > 0 ? <Empty title="No workload fits the filter"><p>Take a word or a choice away.</p></Empty>
          : !error && <NoTraffic />}
      </div>
    </div>
  )
}

function Filters({ all, filter, shown }: { all: readonly WorkloadSummary[]; filter: Filter; shown: number }) {
  const { set } = useUrlState()
  const search = useSlashFocus()
  const kinds = useMemo(() => [...new Set(all.map((w) => w.kind))].sort(), [all])
  const namespaces = useMemo(() => [...new Set(all.map((w) => w.namespace))].sort(), [all])
  const withChosen = (list: string[], chosen: string | null) => (chosen && !list.includes(chosen) ? [...list, chosen] : list)
  return (
    <div className={styles.filters} role="search">
      <TextInput ref={search} type="search" aria-label="Search workloads" placeholder="Search name, namespace, reason  ( / )" w={300}
        leftSection={<Icon name="search" />} value={filter.text}
        onChange={(event) => set({ q: event.currentTarget.value || null }, { replace: true })} />
      <NativeSelect aria-label="Kind" value={filter.kind} onChange={(event) => set({ kind: event.currentTarget.value || null })}
        data={[{ value: '', label: 'All kinds' }, ...withChosen(kinds, filter.kind)]} />
      {(namespaces.length > 1 || filter.namespace !== null) && (
        <NativeSelect aria-label="Namespace" value={filter.namespace === null ? '*' : `=${filter.namespace}`}
          onChange={(event) => set({ ns: event.currentTarget.value === '*' ? null : event.currentTarget.value.slice(1) })}
          data={[{ value: '*', label: 'All namespaces' }, ...withChosen(namespaces, filter.namespace).map((ns) => ({ value: `=${ns}`, label: ns || '(no namespace)' }))]} />
      )}
      <span className="muted num" role="status">{shown === all.length ? `${all.length} workloads` : `${shown} of ${all.length} workloads`}</span>
    </div>
  )
}
