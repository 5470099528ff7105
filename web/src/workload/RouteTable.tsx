import { useMemo } from 'react'
import type { Route } from '../api/types.ts'
import { duration, percent, rate } from '../format/number.ts'
import { routeQuery } from '../query/links.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { splitId } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import styles from './RouteTable.module.css'

type Who = ReturnType<typeof splitId>

const FIGURES: readonly Column<Route>[] = [
  { id: 'rate', header: 'Requests', numeric: true, width: '6rem', value: (r) => r.signals.rate, cell: (r) => rate(r.signals.rate) },
  {
    id: 'errors', header: 'Errors', numeric: true, width: '6rem', value: (r) => r.signals.errorShare,
    cell: (r) => <span className={styles.share} data-bad={(r.signals.errorShare ?? 0) >= 0.01}>{percent(r.signals.errorShare)}</span>,
  },
  { id: 'p50', header: 'p50', numeric: true, width: '5.5rem', value: (r) => r.signals.p50, cell: (r) => duration(r.signals.p50) },
  { id: 'p95', header: 'p95', numeric: true, width: '5.5rem', value: (r) => r.signals.p95, cell: (r) => duration(r.signals.p95) },
  { id: 'p99', header: 'p99', numeric: true, width: '5.5rem', value: (r) => r.signals.p99, cell: (r) => duration(r.signals.p99) },
  { id: 'codes', header: 'Status codes', width: '22rem', cell: (r) => <Codes route={r} /> },
]

/** The routes of a workload and the operations of protocols other than HTTP, the busiest first unless a column is chosen. */
export function RouteTable({ routes, who }: { routes: readonly Route[]; who: Who }) {
  const columns = useMemo<readonly Column<Route>[]>(() => [
    { id: 'method', header: 'Method', width: '6.5rem', value: methodOf, cell: (r) => (r.method ? <b>{r.method}</b> : <span className="muted">{r.protocol}</span>) },
    {
      id: 'route', header: 'Route or operation', value: (r) => r.route,
      cell: (r) => <Link to="/query" with={{ q: routeQuery(who, r.protocol, r.method, r.route) }} title={routeTitle(r)} className={styles.route}>{r.route || '(none)'}</Link>,
    },
    ...FIGURES,
  ], [who])
  const sorted = useMemo(() => [...routes].sort((a, b) => (b.signals.rate ?? -1) - (a.signals.rate ?? -1)), [routes])
  return <DataTable label="Routes" columns={columns} rows={sorted} rowKey={(r) => `${r.protocol} ${r.method} ${r.route}`} sortParam="routes" rowHeight={30} minWidth="60rem" />
}

/** What stands in the column of methods: a protocol without methods is named there. */
const methodOf = (r: Route) => r.method || r.protocol

const routeTitle = (r: Route) => (r.route === '~other' ? 'All routes beyond the limit of routes for one workload' : r.route)

function Codes({ route }: { route: Route }) {
  return (
    <span className={styles.codes}>
      {Object.entries(route.codes).sort().map(([code, r]) => (
        <span key={code} data-class={codeClass(route, code)}><b>{code === 'none' ? 'cut' : code}</b> {rate(r)}</span>
      ))}
    </span>
  )
}

/** The class that colours a code: of HTTP the first digit; of others whether it can be a failure, which only the error share tells. */
function codeClass({ protocol, signals }: Route, code: string): string {
  if (code === 'none') return 'none'
  if (protocol === 'http' || protocol === 'http2') return `${code[0]}xx`
  return code === 'ok' || !signals.errorShare ? 'ok' : 'failed'
}
