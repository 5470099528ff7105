import type { ReactNode } from 'react'
import styles from './Panel.module.css'

interface Props {
  title: ReactNode
  /** Right of the title: a link, a count, a switch. */
  aside?: ReactNode
  flush?: boolean
  children: ReactNode
}

/** A titled box: the one container of the page's content. */
export function Panel({ title, aside, flush = false, children }: Props) {
  return (
    <section className={styles.panel}>
      <header className={styles.head}>
        <h2>{title}</h2>
        {aside !== undefined && <div className={styles.aside}>{aside}</div>}
      </header>
      <div className={flush ? styles.flush : styles.body}>{children}</div>
    </section>
  )
}
