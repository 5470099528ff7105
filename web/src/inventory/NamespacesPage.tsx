import { useMemo } from 'react'
import { useClusters, useEventCounts, useNamespaces } from '../api/hooks.ts'
import type { Namespace } from '../api/types.ts'
import { bytes, compact, cores, percent, rate } from '../format/number.ts'
import { counted } from '../map/words.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { HEALTH_ORDER, HealthMark } from '../ui/Health.tsx'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { Failure } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { Link } from '../url/Link.tsx'
import styles from './inventory.module.css'
import { NoObjects } from './NoObjects.tsx'
import { UseCell } from './UseCell.tsx'

const WARNINGS = { type: 'Warning' }

/** All namespaces, trouble first unless a column is chosen. Events are counted by name, so only where there is one cluster. */
export default function NamespacesPage() {
  useTitle('Namespaces')
  const { data, error, isPending, refetch } = useNamespaces()
  const many = useClusters().all.length > 1
  const { data: counts } = useEventCounts(WARNINGS, 'namespace')
  const columns = useMemo(() => columnsOf(many, new Map(many ? [] : counts?.groups.map((g) => [g.value, g.total]))), [many, counts])
  const all = data?.namespaces ?? []
  return (
    <div className={styles.full}>
      <h1 className="sr-only">Namespaces</h1>
      <div className={styles.filters}><span className="muted num" role="status">{data ? counted(all.length, 'namespace') : ''}</span></div>
      {error && <Failure error={error} retry={() => void refetch()} />}
      <div className={styles.table}>
        {isPending && !error ? <SkeletonRows rows={8} height={32} />
          : all.length > 0 ? <DataTable label="Namespaces" columns={columns} rows={all} rowKey={(n) => n.id} sortParam="sort" rowHeight={32} height="100%" minWidth="82rem" />
          : !error && <NoObjects what="namespaces" known={false} />}
      </div>
    </div>
  )
}

function columnsOf(many: boolean, warnings: ReadonlyMap<string, number>): Column<Namespace>[] {
  const figures: Column<Namespace>[] = [
    { id: 'workloads', header: 'Workloads', title: 'On the map', numeric: true, width: '5.5rem', value: (n) => n.workloads, cell: (n) => n.workloads },
    { id: 'pods', header: 'Pods', numeric: true, width: '4.5rem', value: (n) => n.pods, cell: (n) => n.pods },
    { id: 'restarts', header: 'Restarts', title: 'Of containers, in the time range', numeric: true, width: '5rem', value: (n) => n.restarted, cell: (n) => <span className={n.restarted > 0 ? styles.bad : undefined}>{n.restarted}</span> },
    { id: 'rate', header: 'Requests', numeric: true, width: '5.5rem', value: (n) => n.rate, cell: (n) => rate(n.rate) },
    { id: 'errors', header: 'Errors', numeric: true, width: '5rem', value: (n) => n.errorShare, cell: (n) => <span className={(n.errorShare ?? 0) >= 0.01 ? styles.bad : undefined}>{percent(n.errorShare)}</span> },
    { id: 'cpu', header: 'Processor', title: 'Cores, and the share of what is requested or limited in sum', numeric: true, width: '12.75rem', value: (n) => n.cpu.used, cell: (n) => <UseCell resource={{ ...n.cpu, limits: null }} of="pod" format={cores} /> },
    { id: 'memory', header: 'Memory', title: 'Working set, and the share of what is requested', numeric: true, width: '12.75rem', value: (n) => n.memory.used, cell: (n) => <UseCell resource={{ ...n.memory, limits: null }} of="pod" format={bytes} /> },
  ]
  return [
    {
      id: 'health', header: 'Health', headerHidden: true, title: 'Health', width: '2.25rem', value: (n) => HEALTH_ORDER.indexOf(n.health),
      cell: (n) => <span title={n.reasons.join('\n')}><HealthMark health={n.health} /></span>,
    },
    {
      id: 'namespace', header: 'Namespace', width: '15%', value: (n) => n.name,
      cell: (n) => (
        <span className={styles.name}>
          <Link to="/namespace" with={{ id: n.id }} title={n.name}>{n.name}</Link>
          <small>{[many ? n.cluster : '', n.phase === 'Terminating' ? n.phase : ''].filter(Boolean).join(', ')}</small>
        </span>
      ),
    },
    { id: 'why', header: 'Why', value: (n) => n.reasons[0] ?? null, cell: (n) => <span className={styles.reason} data-health={n.health} title={n.reasons.join('\n')}>{n.reasons.join(' · ')}</span> },
    ...figures,
    ...(warnings.size > 0 ? [{
      id: 'events', header: 'Warnings', title: 'Events that warn', numeric: true, width: '5.5rem', value: (n: Namespace) => warnings.get(n.name) ?? 0,
      cell: (n: Namespace) => (warnings.get(n.name) ? <Link to="/events" with={{ namespace: n.name, type: 'Warning' }}>{compact(warnings.get(n.name))}</Link> : 0),
    }] : []),
  ]
}
