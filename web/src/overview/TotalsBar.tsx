import { Skeleton } from '@mantine/core'
import type { ReactNode } from 'react'
import type { Health } from '../api/types.ts'
import { compact, percent, rate } from '../format/number.ts'
import { HEALTH_ORDER, HEALTH_WORDS, HealthMark } from '../ui/Health.tsx'
import type { Totals } from './filter.ts'
import styles from './TotalsBar.module.css'

interface Props {
  totals: Totals
  chosen: readonly Health[]
  toggle: (health: Health) => void
  loading: boolean
}

/** How many workloads are how well (each a filter), and all requests together. */
export function TotalsBar({ totals, chosen, toggle, loading }: Props) {
  const share = totals.rate > 0 ? totals.failing / totals.rate : null
  return (
    <section className={styles.bar} aria-label="Totals">
      {HEALTH_ORDER.map((health) => (
        <button key={health} type="button" className={styles.health} data-health={health} data-none={totals.byHealth[health] === 0}
          aria-pressed={chosen.includes(health)} aria-label={`${HEALTH_WORDS[health]}: ${totals.byHealth[health]} workloads`} onClick={() => toggle(health)}>
          <HealthMark health={health} size={14} />
          <b className="num">{loading ? '–' : compact(totals.byHealth[health])}</b>
          <span>{HEALTH_WORDS[health]}</span>
        </button>
      ))}
      <Figure name="Requests" loading={loading}>{rate(totals.count > 0 ? totals.rate : null)}</Figure>
      <Figure name="Failing" loading={loading} bad={(share ?? 0) >= 0.01}>{rate(totals.count > 0 ? totals.failing : null)}</Figure>
      <Figure name="Error share" loading={loading} bad={(share ?? 0) >= 0.01}>{percent(share)}</Figure>
    </section>
  )
}

function Figure({ name, children, loading, bad = false }: { name: string; children: ReactNode; loading: boolean; bad?: boolean }) {
  return (
    <div className={styles.figure}>
      <span>{name}</span>
      {loading ? <Skeleton height={20} width={64} mt={2} /> : <b className="num" data-bad={bad}>{children}</b>}
    </div>
  )
}
