import { useMemo } from 'react'
import { useClusters } from '../api/hooks.ts'
import type { Pod } from '../api/types.ts'
import { age, bytes, cores } from '../format/number.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { HEALTH_ORDER, HealthMark } from '../ui/Health.tsx'
import { inSpace, splitId } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import styles from './inventory.module.css'
import { UseCell } from './UseCell.tsx'

/** What is known from where the table stands, and so has no column. */
export type Given = 'namespace' | 'workload' | 'node'

const HEALTH: Column<Pod> = {
  id: 'health', header: 'Health', headerHidden: true, title: 'Health', width: '2.25rem', value: (p) => HEALTH_ORDER.indexOf(p.health),
  cell: (p) => <span title={p.reasons.join('\n')}><HealthMark health={p.health} /></span>,
}
const STATUS: Column<Pod> = {
  id: 'status', header: 'Status', width: '15%', value: (p) => p.status,
  cell: (p) => <span className={styles.reason} data-health={p.health} title={p.reasons.join('\n') || p.status}>{[p.status, ...p.reasons].filter(Boolean).join(' · ')}</span>,
}
const WORKLOAD: Column<Pod> = {
  id: 'workload', header: 'Workload', width: '11%', value: (p) => splitId(p.workload).name,
  cell: (p) => <Link to="/workload" with={{ id: p.workload }} title={p.workload}>{splitId(p.workload).name}</Link>,
}
const NODE: Column<Pod> = {
  id: 'node', header: 'Node', width: '8%', value: (p) => p.node,
  cell: (p) => (p.node ? <Link to="/node" with={{ id: p.nodeId }} title={p.node}>{p.node}</Link> : <span className="muted">none</span>),
}
const FIGURES: readonly Column<Pod>[] = [
  { id: 'ready', header: 'Ready', title: 'Containers that are ready', numeric: true, width: '4rem', value: (p) => (p.containers > 0 ? p.ready / p.containers : null), cell: (p) => (p.containers > 0 ? `${p.ready}/${p.containers}` : '–') },
  {
    id: 'restarts', header: 'Restarts', title: 'Ever, and in the time range', numeric: true, width: '5.5rem', value: (p) => p.restarted * 1e6 + p.restarts,
    cell: (p) => <span className={p.restarted > 0 ? styles.bad : undefined} title={p.lastEnd ? `last after ${p.lastEnd}` : undefined}>{p.restarts}{p.restarted > 0 && ` (+${p.restarted})`}</span>,
  },
  { id: 'cpu', header: 'Processor', title: 'Cores, and the share of the limit or else the request', numeric: true, width: '12rem', value: (p) => p.cpu.used, cell: (p) => <UseCell resource={p.cpu} of="pod" format={cores} /> },
  { id: 'memory', header: 'Memory', title: 'Working set, and the share of the limit or else the request', numeric: true, width: '12rem', value: (p) => p.memory.used, cell: (p) => <UseCell resource={p.memory} of="pod" format={bytes} /> },
]

/** Pods as the server orders them, trouble first, unless a column is chosen. Only rows in sight are drawn. */
export function PodTable({ pods, given = [], height, end }: { pods: readonly Pod[]; given?: readonly Given[]; height?: string; end: string }) {
  const clusters = useClusters()
  const columns = useMemo<readonly Column<Pod>[]>(() => [
    HEALTH,
    {
      id: 'pod', header: 'Pod', value: (p) => `${p.namespace}/${p.name}`,
      cell: (p) => (
        <span className={styles.name}>
          <Link to="/pod" with={{ id: p.id }} title={p.name}>{p.name}</Link>
          {!given.includes('namespace') && <small>{inSpace(p, clusters)}</small>}
        </span>
      ),
    },
    STATUS,
    ...(given.includes('workload') ? [] : [WORKLOAD]),
    ...(given.includes('node') ? [] : [NODE]),
    ...FIGURES,
    { id: 'age', header: 'Age', numeric: true, width: '4.5rem', value: (p) => (p.created ? -Date.parse(p.created) : null), cell: (p) => age(p.created, Date.parse(end) / 1000) },
  ], [given, clusters, end])
  return <DataTable label="Pods" columns={columns} rows={pods} rowKey={(p) => `${p.id} ${p.uid}`} sortParam="pods" rowHeight={32} height={height} maxHeight="26rem" minWidth="76rem" />
}
