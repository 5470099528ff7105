import { Empty } from '../ui/States.tsx'
import styles from './QueryPage.module.css'

const EXAMPLES: readonly [string, string][] = [
  ['Requests a second by workload', 'sum by (workload) (rate(vetch_workload_requests_total[1m]))'],
  ['Share of requests that fail, by workload', 'sum by (workload) (rate(vetch_workload_failed_requests_total[1m])) / sum by (workload) (rate(vetch_workload_requests_total[1m]))'],
  ['p95 of the duration by workload', 'histogram_quantile(0.95, sum by (workload) (rate(vetch_workload_request_duration_seconds[1m])))'],
  ['The ten busiest edges', 'topk(10, sum by (client, server, port) (rate(vetch_edge_requests_total[1m])))'],
  ['Failed connects by pair and error', 'sum by (client, server, port, error) (rate(vetch_edge_failed_connections_total[5m])) > 0'],
]

/** For an empty page: queries to start from. */
export function Examples({ choose }: { choose: (expr: string) => void }) {
  return (
    <Empty title="Ask in PromQL, or start from one of these">
      <div className={styles.examples}>
        {EXAMPLES.map(([title, expr]) => (
          <button key={expr} type="button" onClick={() => choose(expr)}><b>{title}</b><code>{expr}</code></button>
        ))}
      </div>
    </Empty>
  )
}
