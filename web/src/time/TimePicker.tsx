import { Button, Popover, TextInput } from '@mantine/core'
import { useState } from 'react'
import { Icon } from '../ui/Icon.tsx'
import { IconButton } from '../ui/IconButton.tsx'
import { fromInput, nowSeconds, spanText, stamp, toInput } from './clock.ts'
import { between, parseSpan, PRESETS, resolve, shift, spanInWords, type TimeRange, zoomOut } from './range.ts'
import styles from './TimePicker.module.css'
import { useTimeRange } from './useTimeRange.ts'

export function rangeLabel(range: TimeRange, now: number): string {
  return range.kind === 'relative' ? spanInWords(range.span) : spanText(range.from, range.to, now)
}

/** Earlier, which range, later, longer: every change is a step of the browser's history, so Back undoes a zoom. */
export function TimePicker() {
  const { range, setRange } = useTimeRange()
  const [open, setOpen] = useState(false)
  const choose = (next: TimeRange) => {
    setRange(next)
    setOpen(false)
  }
  const now = nowSeconds()
  const title = range.kind === 'absolute' ? `${stamp(range.from)} to ${stamp(range.to)}` : undefined
  return (
    <div className={styles.picker} role="group" aria-label="Time range">
      <IconButton icon="left" label="Earlier" onClick={() => setRange(shift(range, -0.5, nowSeconds()))} />
      <Popover opened={open} onChange={setOpen} position="bottom-end" shadow="md" width={500} trapFocus returnFocus>
        <Popover.Target>
          <Button variant="default" className={styles.target} title={title} onClick={() => setOpen(!open)}
            leftSection={<Icon name="clock" />} rightSection={<Icon name="down" size={12} />}>
            <span className="num">{rangeLabel(range, now)}</span>
          </Button>
        </Popover.Target>
        <Popover.Dropdown p="sm">
          <div className={styles.panes}>
            <Relative range={range} choose={choose} />
            <Absolute range={range} choose={choose} />
          </div>
        </Popover.Dropdown>
      </Popover>
      <IconButton icon="right" label="Later" disabled={range.kind === 'relative'} onClick={() => setRange(shift(range, 0.5, nowSeconds()))} />
      <IconButton icon="zoomOut" label="Twice as long" onClick={() => setRange(zoomOut(range, nowSeconds()))} />
    </div>
  )
}

interface PaneProps {
  range: TimeRange
  choose: (range: TimeRange) => void
}

function Relative({ range, choose }: PaneProps) {
  const [text, setText] = useState('')
  const seconds = parseSpan(text)
  const wrong = text !== '' && seconds === null
  return (
    <div>
      <h2 className={styles.title}>Up to now</h2>
      <div className={styles.presets}>
        {PRESETS.map((span) => (
          <button key={span} type="button" aria-pressed={range.kind === 'relative' && range.span === span}
            aria-label={spanInWords(span)} onClick={() => choose({ kind: 'relative', span })}>{span}</button>
        ))}
      </div>
      <form className={styles.custom} onSubmit={(event) => {
        event.preventDefault()
        if (seconds !== null) choose({ kind: 'relative', span: text.trim().replace(/\s+/g, '') })
      }}>
        <TextInput aria-label="Another length" placeholder="other: 45m, 1h30m" value={text}
          onChange={(event) => setText(event.currentTarget.value)} error={wrong ? 'A number and s, m, h, d or w' : undefined} />
      </form>
    </div>
  )
}

function Absolute({ range, choose }: PaneProps) {
  const shown = resolve(range, nowSeconds())
  const [from, setFrom] = useState(toInput(shown.from))
  const [to, setTo] = useState(toInput(shown.to))
  const [a, b] = [fromInput(from), fromInput(to)]
  const wrong = a === null || b === null || a >= b
  return (
    <form className={styles.absolute} onSubmit={(event) => {
      event.preventDefault()
      if (!wrong) choose(between(a, b))
    }}>
      <h2 className={styles.title}>From … to</h2>
      <TextInput type="datetime-local" step={1} label="From" value={from} onChange={(e) => setFrom(e.currentTarget.value)} />
      <TextInput type="datetime-local" step={1} label="To" value={to} onChange={(e) => setTo(e.currentTarget.value)}
        error={wrong ? 'The end must lie after the start' : undefined} />
      <Button type="submit" disabled={wrong}>Apply</Button>
    </form>
  )
}
