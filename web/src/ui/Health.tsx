import type { Health } from '../api/types.ts'
import styles from './Health.module.css'

export const HEALTH_WORDS: Record<Health, string> = {
  ok: 'Healthy', warning: 'Warning', critical: 'Critical', idle: 'Idle',
}
/** The worst first. */
export const HEALTH_ORDER: readonly Health[] = ['critical', 'warning', 'ok', 'idle']

// Shape as well as colour, so that health is legible without colour vision: disc, triangle, diamond, ring.
const SHAPES: Record<Health, React.ReactNode> = {
  ok: <circle cx="8" cy="8" r="5" fill="currentColor" />,
  warning: <path d="M8 1.8 14.8 14H1.2Z" fill="currentColor" />,
  critical: <path d="M8 .8 15.2 8 8 15.2.8 8Z" fill="currentColor" />,
  idle: <circle cx="8" cy="8" r="4.2" fill="none" stroke="currentColor" strokeWidth="2" />,
}

interface Props {
  health: Health
  size?: number
  /** The word beside the shape; without it the word is there for screen readers only. */
  word?: boolean
}

export function HealthMark({ health, size = 12, word = false }: Props) {
  return (
    <span className={styles.mark} data-health={health}>
      <svg viewBox="0 0 16 16" width={size} height={size} aria-hidden="true">{SHAPES[health]}</svg>
      <span className={word ? undefined : 'sr-only'}>{HEALTH_WORDS[health]}</span>
    </span>
  )
}
