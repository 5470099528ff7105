import { Button, Code } from '@mantine/core'
import type { ReactNode } from 'react'
import { ApiError } from '../api/client.ts'
import styles from './States.module.css'

interface EmptyProps {
  title: string
  children: ReactNode
}

/** Nothing to show, and what to do about it. */
export function Empty({ title, children }: EmptyProps) {
  return (
    <div className={styles.state}>
      <svg viewBox="0 0 48 32" width="72" height="48" aria-hidden="true" className={styles.art}>
        <circle cx="8" cy="16" r="5" /><circle cx="40" cy="7" r="5" /><circle cx="40" cy="25" r="5" />
        <path d="M13 15 35 8M13 17l22 7" strokeDasharray="3 3" />
      </svg>
      <h2>{title}</h2>
      <div className={styles.words}>{children}</div>
    </div>
  )
}

export function NoTraffic() {
  return (
    <Empty title="No traffic seen in this time range">
      <p>vetch shows every program that talks over TCP, and starts with the first request. Start some, for example with</p>
      <Code block>curl http://localhost/</Code>
      <p>or take a longer time range. If it stays empty, <code>vetch doctor</code> says what this kernel offers.</p>
    </Empty>
  )
}

interface FailureProps {
  error: unknown
  retry?: () => void
  /** For a small place: one line. */
  slim?: boolean
}

/** The server's own sentence, and a way to try again. */
export function Failure({ error, retry, slim = false }: FailureProps) {
  const message = error instanceof Error ? error.message : String(error)
  const status = error instanceof ApiError && error.status > 0 ? ` (${error.status} ${error.type})` : ''
  return (
    <div role="alert" className={slim ? styles.slim : styles.failure}>
      <p>{message}<span className="muted">{status}</span></p>
      {retry && <Button variant="default" size="compact-xs" onClick={retry}>Try again</Button>}
    </div>
  )
}
