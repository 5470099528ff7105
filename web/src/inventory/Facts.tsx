import type { ReactNode } from 'react'
import styles from './inventory.module.css'

export interface Fact {
  name: string
  value: ReactNode
  bad?: boolean
  title?: string
}

/** What is known of one thing, in boxes beside each other. */
export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl className={styles.facts}>
      {facts.map(({ name, value, bad = false, title }) => <div key={name} title={title}><dt>{name}</dt><dd className="num" data-bad={bad}>{value}</dd></div>)}
    </dl>
  )
}
