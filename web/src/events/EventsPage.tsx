import { Button, NativeSelect, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useMemo } from 'react'
import type { EventFilter } from '../api/client.ts'
import { useEventCounts, useEvents } from '../api/hooks.ts'
import { TimeChart } from '../chart/TimeChart.tsx'
import { compact } from '../format/number.ts'
import { counted } from '../map/words.ts'
import { Icon } from '../ui/Icon.tsx'
import { IconButton } from '../ui/IconButton.tsx'
import { Panel } from '../ui/Panel.tsx'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useSlashFocus } from '../ui/useSlashFocus.ts'
import { useTitle } from '../ui/useTitle.ts'
import { splitId } from '../ui/ids.ts'
import { useUrlState } from '../url/location.ts'
import { linesOf, merged } from './events.ts'
import styles from './EventsPage.module.css'
import { EventTable } from './EventTable.tsx'

/** How long the reader pauses before what is typed is asked for, in milliseconds. */
const PAUSE = 250

export default function EventsPage() {
  useTitle('Events')
  const { params } = useUrlState()
  const [text] = useDebouncedValue(params.get('q') ?? '', PAUSE)
  const [type, reason, workload] = [params.get('type') ?? '', params.get('reason') ?? '', params.get('workload') ?? '']
  const [namespace, node, kind, name] = [params.get('namespace') ?? '', params.get('node') ?? '', params.get('kind') ?? '', params.get('name') ?? '']
  const filter = useMemo<EventFilter>(() => ({ text, type, reason, workload, namespace, node, kind, name }), [text, type, reason, workload, namespace, node, kind, name])
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useEvents(filter)
  const events = useMemo(() => merged(data), [data])
  return (
    <div className={styles.page}>
      <h1 className="sr-only">Events</h1>
      <Filters filter={filter} shown={events.length} more={hasNextPage} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <OverTime filter={filter} />
      <div className={styles.table}>
        {isPending && !error ? <SkeletonRows rows={12} height={30} />
          : events.length > 0 ? <EventTable events={events} height="100%" />
          : !error && <Empty title="Nothing happened"><p>No event fits in this time range: crashes, OOM kills, restarts and, in a cluster, what Kubernetes tells.</p></Empty>}
      </div>
      {hasNextPage && <Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show older ones</Button>}
    </div>
  )
}

/** What a link of another page chooses. */
const ONE_OF = [
  { param: 'workload', word: 'of', all: 'workloads' }, { param: 'namespace', word: 'in', all: 'namespaces' }, { param: 'node', word: 'on', all: 'nodes' },
  { param: 'kind', word: 'of a', all: 'kinds' }, { param: 'name', word: 'named', all: 'names' },
] as const

function OverTime({ filter }: { filter: EventFilter }) {
  const { data } = useEventCounts(filter, 'type')
  const chart = useMemo(() => (data ? linesOf(data) : { times: [], lines: [] }), [data])
  if (chart.lines.length === 0) return null
  return <Panel title="Events over time"><TimeChart label="Events by type" {...chart} format={(n) => (n === null ? '' : compact(n))} height={110} stacked /></Panel>
}

function Filters({ filter, shown, more }: { filter: EventFilter; shown: number; more: boolean }) {
  const { params, set } = useUrlState()
  const search = useSlashFocus()
  const { data } = useEventCounts({ ...filter, reason: '' }, 'reason')
  const reasons = (data?.groups ?? []).map((g) => ({ value: g.value, label: `${g.value} (${compact(g.total)})` })).filter((r) => r.value !== '~other')
  if (filter.reason && !reasons.some((r) => r.value === filter.reason)) reasons.unshift({ value: filter.reason, label: filter.reason })
  return (
    <div className={styles.filters} role="search">
      <TextInput ref={search} type="search" aria-label="Search messages" placeholder="Search messages  ( / )" w={300} maxLength={250}
        leftSection={<Icon name="search" />} value={params.get('q') ?? ''}
        onChange={(event) => set({ q: event.currentTarget.value || null }, { replace: true })} />
      <NativeSelect aria-label="Type" value={filter.type} onChange={(event) => set({ type: event.currentTarget.value || null })}
        data={[{ value: '', label: 'All types' }, { value: 'Warning', label: 'Warnings' }, { value: 'Normal', label: 'Normal' }]} />
      <NativeSelect aria-label="Reason" value={filter.reason} onChange={(event) => set({ reason: event.currentTarget.value || null })}
        data={[{ value: '', label: 'All reasons' }, ...reasons]} />
      {ONE_OF.map(({ param, word, all }) => {
        const chosen = params.get(param)
        return chosen && (
          <span key={param} className={styles.chosen}>
            {word} <b>{param === 'workload' ? splitId(chosen).name : chosen}</b>
            <IconButton icon="close" label={`Events of all ${all}`} onClick={() => set({ [param]: null })} />
          </span>
        )
      })}
      <span className="muted num" role="status">{more ? `the last ${counted(shown, 'event')}` : counted(shown, 'event')}</span>
    </div>
  )
}
