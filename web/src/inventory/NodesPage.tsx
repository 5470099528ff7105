import { useMemo } from 'react'
import { useClusters, useNodes } from '../api/hooks.ts'
import type { InventoryNode } from '../api/types.ts'
import { byteRate, bytes, cores, percent } from '../format/number.ts'
import { counted } from '../map/words.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { HEALTH_ORDER, HealthMark } from '../ui/Health.tsx'
import { SkeletonRows } from '../ui/SkeletonRows.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { Link } from '../url/Link.tsx'
import styles from './inventory.module.css'
import { shareOf } from './resources.ts'
import { UseCell } from './UseCell.tsx'

const requested = (n: InventoryNode, of: 'cpu' | 'memory') => {
  const { requests, allocatable, capacity } = n[of]
  const whole = allocatable ?? capacity
  return requests !== null && whole ? requests / whole : null
}
const NAME = (many: boolean): Column<InventoryNode> => ({
  id: 'node', header: 'Node', width: '18%', value: (n) => n.name,
  cell: (n) => (
    <span className={styles.name}>
      <Link to="/node" with={{ id: n.id }} title={n.name}>{n.name}</Link>
      <small>{[many ? n.cluster : '', ...n.roles, n.unschedulable ? 'cordoned' : ''].filter(Boolean).join(', ')}</small>
    </span>
  ),
})
const REST: readonly Column<InventoryNode>[] = [
  { id: 'why', header: 'Why', value: (n) => n.reasons[0] ?? null, cell: (n) => <span className={styles.reason} data-health={n.health} title={n.reasons.join('\n')}>{n.reasons.join(' · ') || unmeasured(n)}</span> },
  { id: 'cpu', header: 'Processor', title: 'Cores in use, and the share of those there are', numeric: true, width: '12.75rem', value: (n) => shareOf(n.cpu, 'node'), cell: (n) => <UseCell resource={n.cpu} of="node" format={cores} /> },
  { id: 'cpuRequests', header: 'Requested', title: 'Share of the allocatable cores that pods request', numeric: true, width: '5.5rem', value: (n) => requested(n, 'cpu'), cell: (n) => percent(requested(n, 'cpu')) },
  { id: 'memory', header: 'Memory', title: 'In use, and the share of what there is', numeric: true, width: '12.75rem', value: (n) => shareOf(n.memory, 'node'), cell: (n) => <UseCell resource={n.memory} of="node" format={bytes} /> },
  { id: 'memoryRequests', header: 'Requested', title: 'Share of the allocatable memory that pods request', numeric: true, width: '5.5rem', value: (n) => requested(n, 'memory'), cell: (n) => percent(requested(n, 'memory')) },
  { id: 'disk', header: 'Disk busy', title: 'Share of the time that the busiest disk works', numeric: true, width: '5.5rem', value: (n) => n.diskBusy, cell: (n) => <span title={`read ${byteRate(n.diskReadRate)}, written ${byteRate(n.diskWriteRate)}`}>{percent(n.diskBusy)}</span> },
  { id: 'full', header: 'Disk full', title: 'Share of the fullest file system that is used, of its bytes or inodes', numeric: true, width: '5.5rem', value: (n) => n.diskUsed, cell: (n) => percent(n.diskUsed) },
  { id: 'pods', header: 'Pods', numeric: true, width: '5rem', value: (n) => n.pods, cell: (n) => (n.podLimit ? `${n.pods}/${n.podLimit}` : n.kubernetes || n.pods > 0 ? n.pods : '–') },
  { id: 'version', header: 'Version', title: 'Of the kubelet, else of the kernel', width: '8rem', value: (n) => n.version || n.kernel, cell: (n) => <span title={[n.version, n.kernel, n.system, n.runtime].filter(Boolean).join('\n')}>{n.version || n.kernel}</span> },
]
const unmeasured = (n: InventoryNode) => (n.watched ? '' : 'no agent reports from it')

/** All nodes, trouble first unless a column is chosen. */
export default function NodesPage() {
  useTitle('Nodes')
  const { data, error, isPending, refetch } = useNodes()
  const many = useClusters().all.length > 1
  const columns = useMemo(() => [HEALTH, NAME(many), ...REST], [many])
  const nodes = data?.nodes ?? []
  return (
    <div className={styles.full}>
      <h1 className="sr-only">Nodes</h1>
      <div className={styles.filters}><span className="muted num" role="status">{data ? counted(nodes.length, 'node') : ''}</span></div>
      {error && <Failure error={error} retry={() => void refetch()} />}
      <div className={styles.table}>
        {isPending && !error ? <SkeletonRows rows={8} height={32} />
          : nodes.length > 0 ? <DataTable label="Nodes" columns={columns} rows={nodes} rowKey={(n) => n.id} sortParam="sort" rowHeight={32} height="100%" minWidth="80rem" />
          : !error && <Empty title="No node reports"><p>A machine is here as soon as <code>vetch agent</code> or <code>vetch run</code> measures on it. Take a range in which one did.</p></Empty>}
      </div>
    </div>
  )
}

const HEALTH: Column<InventoryNode> = {
  id: 'health', header: 'Health', headerHidden: true, title: 'Health', width: '2.25rem', value: (n) => HEALTH_ORDER.indexOf(n.health),
  cell: (n) => <span title={n.reasons.join('\n')}><HealthMark health={n.health} /></span>,
}
