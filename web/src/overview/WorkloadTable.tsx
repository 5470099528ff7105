import type { WorkloadSummary } from '../api/types.ts'
import { duration, percent, rate } from '../format/number.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { HEALTH_ORDER, HealthMark } from '../ui/Health.tsx'
import { Sparkline } from '../ui/Sparkline.tsx'
import { WorkloadName } from '../ui/WorkloadName.tsx'
import styles from './WorkloadTable.module.css'

const COLUMNS: readonly Column<WorkloadSummary>[] = [
  {
    id: 'health', header: 'Health', width: '6.25rem', value: (w) => HEALTH_ORDER.indexOf(w.health),
    cell: (w) => <HealthMark health={w.health} word />,
  },
  {
    id: 'name', header: 'Workload', width: '24%', value: (w) => `${w.namespace}/${w.name}`,
    cell: (w) => <WorkloadName id={w.id} />,
  },
  {
    id: 'reason', header: 'Why', value: (w) => w.reasons[0] ?? null,
    cell: (w) => <span title={w.reasons.join('\n')} className={styles.reason} data-health={w.health}>{w.reasons.join(' · ')}</span>,
  },
  {
    id: 'rate', header: 'Requests', numeric: true, width: '10.5rem', value: (w) => w.signals.rate,
    cell: (w) => <span className={styles.figure}><Sparkline series={w.rateSpark} color="var(--series-0)" /><span>{rate(w.signals.rate)}</span></span>,
  },
  {
    id: 'errors', header: 'Errors', title: 'Share of requests that failed: 5xx, or cut before the response', numeric: true, width: '10.5rem', value: (w) => w.signals.errorShare,
    cell: (w) => (
      <span className={styles.figure} data-bad={(w.signals.errorShare ?? 0) >= 0.01}>
        <Sparkline series={w.errorSpark} color={(w.signals.errorShare ?? 0) > 0 ? 'var(--critical)' : 'var(--line-strong)'} floor={0.05} /><span>{percent(w.signals.errorShare)}</span>
      </span>
    ),
  },
  {
    id: 'p95', header: 'p95', title: '95 % of requests were faster', numeric: true, width: '10.5rem', value: (w) => w.signals.p95,
    cell: (w) => <span className={styles.figure}><Sparkline series={w.latencySpark} color="var(--accent)" /><span>{duration(w.signals.p95)}</span></span>,
  },
]

/** All workloads as the server orders them: the one with most trouble first, unless a column is chosen. */
export function WorkloadTable({ workloads, height = '100%' }: { workloads: readonly WorkloadSummary[]; height?: string }) {
  return (
    <DataTable label="Workloads" columns={COLUMNS} rows={workloads} rowKey={(w) => w.id} sortParam="sort" rowHeight={34} height={height} />
  )
}
