import { Button, SegmentedControl } from '@mantine/core'
import { useState } from 'react'
import { resolve } from '../time/range.ts'
import { nowSeconds } from '../time/clock.ts'
import { rangeToChange, useTimeRange } from '../time/useTimeRange.ts'
import { Icon } from '../ui/Icon.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { urlTo } from '../url/location.ts'
import { Examples } from './Examples.tsx'
import { GraphResult } from './GraphResult.tsx'
import styles from './QueryPage.module.css'
import { QueryRow } from './QueryRow.tsx'
import { TableResult } from './TableResult.tsx'
import { useAnswers } from './useAnswers.ts'
import { useQueryState, type View } from './useQueryState.ts'

export default function QueryPage() {
  useTitle('Query')
  const { queries, view, setQueries, setView } = useQueryState()
  const answers = useAnswers(queries, view)
  const replace = (index: number, expr: string) => {
    const next = queries.map((q, i) => (i === index ? expr : q))
    if (queries[index] === expr) void answers[index]?.refetch()
    else setQueries(next)
  }
  const asked = queries.some((q) => q.trim() !== '')
  return (
    <div className={styles.page}>
      <h1 className="sr-only">Query</h1>
      <section aria-label="Queries" className={styles.queries}>
        {queries.map((expr, i) => (
          <QueryRow key={i} index={i} expr={expr} alone={queries.length === 1} busy={answers[i]?.isFetching ?? false}
            error={answers[i]?.error} notes={answers[i]?.data?.result.notes ?? []}
            onRun={(text) => replace(i, text)} onRemove={() => setQueries(queries.filter((_, k) => k !== i))} />
        ))}
        <div className={styles.bar}>
          <Button variant="default" leftSection={<Icon name="plus" size={12} />} onClick={() => setQueries([...queries, ''])} disabled={queries.length >= 10}>Add query</Button>
          <CopyLink />
          <span className="muted">Enter runs, Shift+Enter makes a new line</span>
          <SegmentedControl aria-label="Show as" value={view} onChange={(v) => setView(v as View)} className={styles.view}
            data={[{ value: 'graph', label: 'Graph' }, { value: 'table', label: 'Table' }]} />
        </div>
      </section>
      {!asked ? <Examples choose={(expr) => setQueries([expr])} />
        : view === 'graph' ? <GraphResult queries={queries} answers={answers.map((a) => a.data)} waiting={answers.some((a) => a.isLoading)} />
        : <TableResult queries={queries} answers={answers.map((a) => a.data?.result.data)} />}
    </div>
  )
}

/** Copies the address with the present time range as two instants, so that another reader sees the same. */
function CopyLink() {
  const { range } = useTimeRange()
  const [word, setWord] = useState('Copy link')
  const copy = async () => {
    const { from, to } = resolve(range, nowSeconds())
    const here = new URLSearchParams(window.location.search)
    const change = { ...rangeToChange({ kind: 'absolute', from, to }), q: here.getAll('q'), view: here.get('view') }
    try {
      await navigator.clipboard.writeText(window.location.origin + urlTo('/query', change))
      setWord('Copied')
    } catch {
      setWord('Copy the address bar instead')
    }
    setTimeout(() => setWord('Copy link'), 2000)
  }
  return <Button variant="default" leftSection={<Icon name="link" size={13} />} onClick={() => void copy()} aria-live="polite">{word}</Button>
}
