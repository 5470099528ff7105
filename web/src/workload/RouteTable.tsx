import { useMemo } from 'react'
import type { Route } from '../api/types.ts'
import { duration, percent, rate } from '../format/number.ts'
import { routeQuery } from '../query/links.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { Link } from '../url/Link.tsx'
import styles from './RouteTable.module.css'

interface Who {
  namespace: string
  kind: string
  name: string
}

const FIGURES: readonly Column<Route>[] = [
  { id: 'rate', header: 'Requests', numeric: true, width: '6rem', value: (r) => r.signals.rate, cell: (r) => rate(r.signals.rate) },
  {
    id: 'errors', header: 'Errors', numeric: true, width: '6rem', value: (r) => r.signals.errorShare,
    cell: (r) => <span className={styles.share} data-bad={(r.signals.errorShare ?? 0) >= 0.01}>{percent(r.signals.errorShare)}</span>,
  },
  { id: 'p50', header: 'p50', numeric: true, width: '5.5rem', value: (r) => r.signals.p50, cell: (r) => duration(r.signals.p50) },
  { id: 'p95', header: 'p95', numeric: true, width: '5.5rem', value: (r) => r.signals.p95, cell: (r) => duration(r.signals.p95) },
  { id: 'p99', header: 'p99', numeric: true, width: '5.5rem', value: (r) => r.signals.p99, cell: (r) => duration(r.signals.p99) },
  { id: 'codes', header: 'Status codes', width: '22rem', cell: (r) => <Codes codes={r.codes} /> },
]

/** The routes of a workload, the busiest first unless a column is chosen. */
export function RouteTable({ routes, who }: { routes: readonly Route[]; who: Who }) {
  const columns = useMemo<readonly Column<Route>[]>(() => [
    { id: 'method', header: 'Method', width: '5rem', value: (r) => r.method, cell: (r) => <b>{r.method}</b> },
    {
      id: 'route', header: 'Route', value: (r) => r.route,
      cell: (r) => <Link to="/query" with={{ q: routeQuery(who, r.method, r.route) }} title={routeTitle(r)} className={styles.route}>{r.route}</Link>,
    },
    ...FIGURES,
  ], [who])
  const sorted = useMemo(() => [...routes].sort((a, b) => (b.signals.rate ?? -1) - (a.signals.rate ?? -1)), [routes])
  return <DataTable label="Routes" columns={columns} rows={sorted} rowKey={(r) => `${r.protocol} ${r.method} ${r.route}`} sortParam="routes" rowHeight={30} minWidth="60rem" />
}

const routeTitle = (r: Route) => (r.route === '~other' ? 'All routes beyond the limit of routes for one workload' : r.route)

function Codes({ codes }: { codes: Route['codes'] }) {
  return (
    <span className={styles.codes}>
      {Object.entries(codes).sort().map(([code, r]) => (
        <span key={code} data-class={code === 'none' ? 'none' : `${code[0]}xx`}><b>{code === 'none' ? 'cut' : code}</b> {rate(r)}</span>
      ))}
    </span>
  )
}
