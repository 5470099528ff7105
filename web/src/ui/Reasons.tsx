import type { Health } from '../api/types.ts'
import styles from './Reasons.module.css'

/** Why something is not well, in the server's words. */
export function Reasons({ reasons, health }: { reasons: readonly string[]; health: Health }) {
  if (reasons.length === 0) return null
  return <ul className={styles.reasons} data-health={health}>{reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>
}
