import type { TLSConnections } from '../api/types.ts'
import { rate } from '../format/number.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { splitId } from '../ui/ids.ts'
import { WorkloadName } from '../ui/WorkloadName.tsx'
import styles from './RouteTable.module.css'

/** Versions that browsers and RFC 8996 have given up. */
const OLD = new Set(['none', '1.0', '1.1', 'ssl3'])

const words = (text: string) => (text === '' ? <span className="muted">not said</span> : text)
const end = (side: 'client' | 'server', header: string): Column<TLSConnections> => ({
  id: side, header, value: (c) => splitId(c[side]).name, cell: (c) => <WorkloadName id={c[side]} />,
})

const COLUMNS: readonly Column<TLSConnections>[] = [
  {
    id: 'version', header: 'Version', width: '5.5rem', value: (c) => c.version,
    cell: (c) => <span className={styles.share} data-bad={OLD.has(c.version)}>{words(c.version)}</span>,
  },
  end('client', 'Client'),
  end('server', 'Server'),
  { id: 'port', header: 'Port', numeric: true, width: '5rem', value: (c) => c.port, cell: (c) => c.port },
  { id: 'sni', header: 'Server name (SNI)', value: (c) => c.sni, cell: (c) => words(c.sni) },
  { id: 'alpn', header: 'ALPN', title: 'Protocols that the client offered', width: '9rem', value: (c) => c.alpn, cell: (c) => words(c.alpn) },
  { id: 'cipher', header: 'Cipher suite', width: '17rem', value: (c) => c.cipher, cell: (c) => words(c.cipher) },
  { id: 'connects', header: 'Connects', title: 'New connections a second', numeric: true, width: '5.5rem', value: (c) => c.connectRate, cell: (c) => rate(c.connectRate) },
]

const key = (c: TLSConnections) => [c.client, c.server, c.port, c.version, c.sni, c.alpn, c.cipher].join(' ')

/** What new connections of a workload were encrypted with, both ways, the oldest version first unless a column is chosen. */
export function TLSTable({ connections }: { connections: readonly TLSConnections[] }) {
  return <DataTable label="TLS" columns={COLUMNS} rows={connections} rowKey={key} sortParam="tls" rowHeight={30} minWidth="66rem" />
}
