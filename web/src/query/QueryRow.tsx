import { Button, Loader } from '@mantine/core'
import { lazy, Suspense, useEffect, useState } from 'react'
import { formatQuery } from '../api/prometheus.ts'
import { Icon } from '../ui/Icon.tsx'
import { IconButton } from '../ui/IconButton.tsx'
import { Failure } from '../ui/States.tsx'
import styles from './QueryPage.module.css'
import { letter } from './results.ts'

const Editor = lazy(() => import('./Editor.tsx'))

interface Props {
  index: number
  /** The query that was run last. */
  expr: string
  alone: boolean
  busy: boolean
  error: unknown
  notes: readonly string[]
  onRun: (expr: string) => void
  onRemove: () => void
}

export function QueryRow({ index, expr, alone, busy, error, notes, onRun, onRemove }: Props) {
  const [text, setText] = useState(expr)
  const [formatError, setFormatError] = useState<unknown>(null)
  useEffect(() => setText(expr), [expr])
  const tidy = async () => {
    setFormatError(null)
    try {
      setText(await formatQuery(text))
    } catch (err) {
      setFormatError(err)
    }
  }
  const name = `Query ${letter(index)}`
  return (
    <div className={styles.row}>
      <span className={styles.letter} aria-hidden="true">{letter(index)}</span>
      <div className={styles.editor}>
        <Suspense fallback={<div className={styles.waiting}>{text}</div>}>
          <Editor label={name} value={text} onChange={setText} onRun={() => onRun(text)} />
        </Suspense>
        {(error ?? formatError) != null && <Failure error={error ?? formatError} slim />}
        {[...new Set(notes)].map((note) => <p key={note} className={styles.note}>{note}</p>)}
      </div>
      <div className={styles.actions}>
        <Button onClick={() => onRun(text)} aria-label={`Run ${name}`} variant={text === expr ? 'default' : 'filled'}
          rightSection={busy ? <Loader size={12} /> : undefined}>Run</Button>
        <Button variant="default" onClick={() => void tidy()} disabled={text.trim() === ''} aria-label={`Format ${name}`}>Format</Button>
        {!alone && <IconButton icon="close" label={`Remove ${name}`} onClick={onRemove} />}
        {alone && <span className={styles.spacer}><Icon name="close" /></span>}
      </div>
    </div>
  )
}
