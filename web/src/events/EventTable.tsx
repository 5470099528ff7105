import { useMemo } from 'react'
import { useClusters } from '../api/hooks.ts'
import type { EventItem } from '../api/types.ts'
import { stamp } from '../time/clock.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { idIn, splitId } from '../ui/ids.ts'
import { WorkloadName } from '../ui/WorkloadName.tsx'
import { Link } from '../url/Link.tsx'
import styles from './EventTable.module.css'
import { keyOf, lastSeconds, repeated } from './events.ts'

const WHEN: Column<EventItem> = {
  id: 'when', header: 'Last', width: '10rem', value: lastSeconds,
  cell: (e) => <span className="num" title={repeated(e, stamp)}>{stamp(lastSeconds(e))}</span>,
}
const COUNT: Column<EventItem> = { id: 'count', header: 'Times', numeric: true, width: '4.5rem', value: (e) => e.count, cell: (e) => e.count }
const REASON: Column<EventItem> = {
  id: 'reason', header: 'Reason', width: '10rem', value: (e) => e.reason, cell: (e) => <b className={styles.reason} data-type={e.type} title={e.type}>{e.reason}</b>,
}
const WORKLOAD: Column<EventItem> = {
  id: 'workload', header: 'Workload', width: '15rem', value: (e) => (e.workload ? splitId(e.workload).name : ''),
  cell: (e) => (e.workload ? <WorkloadName id={e.workload} /> : <span className="muted">none</span>),
}
const OBJECT: Column<EventItem> = {
  id: 'object', header: 'Object', width: '13rem', value: (e) => e.object.name,
  cell: (e) => <span title={`${e.object.namespace}/${e.object.name}`}><ObjectName event={e} /> <small className="muted">{e.object.kind}</small></span>,
}
const MESSAGE: Column<EventItem> = { id: 'message', header: 'Message', cell: (e) => <span className={styles.message} title={detail(e)}>{e.message}</span> }
const NODE: Column<EventItem> = {
  id: 'node', header: 'Node', width: '8rem', value: (e) => e.node, cell: (e) => (e.node ? <NodeName cluster={e.cluster} name={e.node} /> : ''),
}

/** The object, as a link where it has a page. */
function ObjectName({ event: { object, cluster } }: { event: EventItem }) {
  const clusters = useClusters()
  if (object.kind === 'Node') return <NodeName cluster={cluster} name={object.name} />
  if (object.kind !== 'Pod' || object.namespace === '') return object.name
  return <Link to="/pod" with={{ id: idIn(cluster, `${object.namespace}/${object.name}`, clusters) }}>{object.name}</Link>
}

function NodeName({ cluster, name }: { cluster: string; name: string }) {
  return <Link to="/node" with={{ id: idIn(cluster, name, useClusters()) }}>{name}</Link>
}

/** The message with what else is known, a line each. */
function detail({ message, source, fields }: EventItem): string {
  return [message, `source: ${source}`, ...Object.entries(fields).sort().map(([name, value]) => `${name}: ${value}`)].join('\n')
}

/** Events, the last first unless a column is chosen; `ofOne` where all are of one workload. */
export function EventTable({ events, ofOne = false, height }: { events: readonly EventItem[]; ofOne?: boolean; height?: string }) {
  const columns = useMemo(() => (ofOne ? [WHEN, COUNT, REASON, OBJECT, MESSAGE, NODE] : [WHEN, COUNT, REASON, WORKLOAD, OBJECT, MESSAGE, NODE]), [ofOne])
  return <DataTable label="Events" columns={columns} rows={events} rowKey={keyOf} sortParam="events" rowHeight={30} height={height} maxHeight={ofOne ? '12rem' : '24rem'} minWidth="66rem" />
}
