import type { Signals } from '../api/types.ts'
import { duration, percent, rate } from '../format/number.ts'
import styles from './SignalStrip.module.css'

/** The five figures of the whole range in one line. */
export function SignalStrip({ signals }: { signals: Signals }) {
  const figures: [string, string, boolean][] = [
    ['Requests', rate(signals.rate), false],
    ['Errors', percent(signals.errorShare), (signals.errorShare ?? 0) >= 0.01],
    ['p50', duration(signals.p50), false],
    ['p95', duration(signals.p95), false],
    ['p99', duration(signals.p99), false],
  ]
  return (
    <dl className={styles.strip}>
      {figures.map(([name, value, bad]) => <div key={name}><dt>{name}</dt><dd className="num" data-bad={bad}>{value}</dd></div>)}
    </dl>
  )
}
