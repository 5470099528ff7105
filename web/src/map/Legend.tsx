import { HEALTH_ORDER, HEALTH_WORDS, HealthMark } from '../ui/Health.tsx'
import styles from './Legend.module.css'
import { DASH } from './paintEdges.ts'

const MEANING = { critical: '≥ 5 % fail', warning: '≥ 1 % fail', ok: '', idle: 'no traffic' } as const

/** What shapes, dashes and thickness mean. */
export function Legend() {
  return (
    <ul className={styles.legend} aria-label="Legend">
      {HEALTH_ORDER.map((health) => (
        <li key={health}>
          <HealthMark health={health} />
          <svg width="26" height="6" aria-hidden="true" data-health={health}>
            <line x1="1" x2="25" y1="3" y2="3" strokeWidth="2" strokeDasharray={DASH[health].join(' ')} />
          </svg>
          <span aria-hidden="true">{HEALTH_WORDS[health]}</span><span className="muted">{MEANING[health]}</span>
        </li>
      ))}
      <li><span className={styles.thick} aria-hidden="true" /><span className="muted">thicker: more requests</span></li>
    </ul>
  )
}
