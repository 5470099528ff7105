import { describe, expect, it } from 'vitest'
import type { EventItem } from '../api/types.ts'
import { keyOf, linesOf, marksOf, merged, repeated } from './events.ts'

const event = (change: Partial<EventItem> = {}): EventItem => ({
  first: '2026-11-21T10:00:00Z', last: '2026-11-21T10:00:00Z', count: 1, type: 'Warning', reason: 'Crashed', message: 'ended by SIGSEGV', source: 'kernel',
  object: { namespace: '', kind: 'Process', name: 'shop' }, workload: '/Process/shop', cluster: '', node: 'one', fields: { signal: 'SIGSEGV' }, ...change,
})

describe('events', () => {
  it('are one list, whatever number of pages was read', () => {
    const page = (name: string) => ({ start: '', end: '', next: null, events: [event({ message: name })] })
    expect(merged({ pages: [page('a'), page('b')], pageParams: [] }).map((e) => e.message)).toEqual(['a', 'b'])
    expect(merged(undefined)).toEqual([])
  })
  it('mark when they happened first and last, once where that is the same', () => {
    const at = Date.parse('2026-11-21T10:00:00Z') / 1000
    const text = `${event().reason}: ${event().message}`
    expect(marksOf([event(), event({ last: '2026-11-21T10:01:00Z', count: 7, type: 'Normal' })])).toEqual([
      { time: at, bad: true, text }, { time: at, bad: false, text }, { time: at + 60, bad: false, text },
    ])
  })
  it('say how often they happened only where it was more than once', () => {
    expect(repeated(event(), String)).toBe('')
    expect(repeated(event({ count: 3 }), () => 'noon')).toBe('3 times since noon')
  })
  it('count by type over time, each in the middle of its stretch', () => {
    const { times, lines } = linesOf({
      start: '1970-01-01T00:01:40Z', end: '1970-01-01T00:02:40Z', step: 30, by: 'type',
      groups: [{ value: 'Normal', total: 3, counts: [1, 2] }, { value: 'Warning', total: 1, counts: [0, 1] }, { value: 'Odd', total: 1, counts: [0, 1] }],
    })
    expect(times).toEqual([115, 145])
    expect(lines.map((l) => [l.label, l.values])).toEqual([['Warning', [0, 1]], ['Normal', [1, 2]]])
  })
  it('are told apart by what they are about', () => {
    expect(keyOf(event())).toBe(keyOf(event({ count: 9, last: '2026-11-21T11:00:00Z' })))
    expect(keyOf(event())).not.toBe(keyOf(event({ object: { namespace: '', kind: 'Process', name: 'other' } })))
  })
})
