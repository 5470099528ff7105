import { useMemo } from 'react'
import type { MapEdge } from '../api/types.ts'
import { byteRate, duration, percent, rate } from '../format/number.ts'
import { type Column, DataTable } from './DataTable.tsx'
import { HEALTH_ORDER, HealthMark } from './Health.tsx'
import { splitId } from './ids.ts'
import { WorkloadName } from './WorkloadName.tsx'

interface Props {
  label: string
  edges: readonly MapEdge[]
  /** Which end is named: the other one is known from where the table stands. */
  show: 'client' | 'server' | 'both'
  sortParam: string
  height?: string
}

const end = (side: 'client' | 'server', header: string): Column<MapEdge> => ({
  id: side, header, value: (e) => splitId(e[side]).name, cell: (e) => <WorkloadName id={e[side]} />,
})
const CLIENT = end('client', 'Client')
const SERVER = end('server', 'Server')
const HEALTH: Column<MapEdge> = {
  id: 'health', header: 'Health', headerHidden: true, title: 'Health', width: '2.25rem', value: (e) => HEALTH_ORDER.indexOf(e.health),
  cell: (e) => <span title={e.reasons?.join('\n')}><HealthMark health={e.health} /></span>,
}
const FIGURES: readonly Column<MapEdge>[] = [
  { id: 'port', header: 'Port', width: '6.5rem', value: (e) => e.port, cell: (e) => <span>{e.protocol} <span className="num">{e.port}</span></span> },
  { id: 'rate', header: 'Requests', numeric: true, width: '5.5rem', value: (e) => e.signals.rate, cell: (e) => rate(e.signals.rate) },
  { id: 'errors', header: 'Errors', numeric: true, width: '5.5rem', value: (e) => e.signals.errorShare, cell: (e) => percent(e.signals.errorShare) },
  { id: 'p50', header: 'p50', numeric: true, width: '5rem', value: (e) => e.signals.p50, cell: (e) => duration(e.signals.p50) },
  { id: 'p95', header: 'p95', numeric: true, width: '5rem', value: (e) => e.signals.p95, cell: (e) => duration(e.signals.p95) },
  { id: 'connects', header: 'Connects', title: 'New connections a second', numeric: true, width: '5.5rem', value: (e) => e.connectRate, cell: (e) => rate(e.connectRate) },
  {
    id: 'failed', header: 'Failed', title: 'Connects that failed', numeric: true, width: '5rem', value: (e) => e.failedConnectRate,
    cell: (e) => <span title={failures(e)}>{rate(e.failedConnectRate)}</span>,
  },
  { id: 'sent', header: 'Sent', title: 'Client to server', numeric: true, width: '6rem', value: (e) => e.bytesSentRate, cell: (e) => byteRate(e.bytesSentRate) },
  { id: 'received', header: 'Received', title: 'Server to client', numeric: true, width: '6rem', value: (e) => e.bytesReceivedRate, cell: (e) => byteRate(e.bytesReceivedRate) },
  { id: 'rtt', header: 'RTT', title: 'Median round trip', numeric: true, width: '5rem', value: (e) => e.rtt, cell: (e) => duration(e.rtt) },
]

export function failures(edge: MapEdge): string {
  return Object.entries(edge.failedConnects ?? {}).map(([error, r]) => `${error.replace('_', ' ')}: ${rate(r)}`).join('\n')
}

export function EdgeTable({ label, edges, show, sortParam, height }: Props) {
  const columns = useMemo(() => {
    const ends = show === 'both' ? [CLIENT, SERVER] : show === 'client' ? [CLIENT] : [SERVER]
    return [HEALTH, ...ends, ...FIGURES]
  }, [show])
  return (
    <DataTable label={label} columns={columns} rows={edges} rowKey={(e) => e.id} sortParam={sortParam} rowHeight={30} height={height} minWidth="66rem" />
  )
}
