import type { Signals } from '../api/types.ts'
import { duration, percent, rate } from '../format/number.ts'
import styles from './SidePanel.module.css'

/** Rate, errors and duration as a block of figures. */
export function SignalFigures({ signals }: { signals: Signals }) {
  return (
    <dl className={styles.figures}>
      <Figure name="Requests" value={rate(signals.rate)} />
      <Figure name="Errors" value={percent(signals.errorShare)} bad={(signals.errorShare ?? 0) >= 0.01} />
      <Figure name="p50" value={duration(signals.p50)} />
      <Figure name="p95" value={duration(signals.p95)} />
      <Figure name="p99" value={duration(signals.p99)} />
    </dl>
  )
}

export function Figure({ name, value, bad = false }: { name: string; value: string; bad?: boolean }) {
  return <div><dt>{name}</dt><dd className="num" data-bad={bad}>{value}</dd></div>
}
