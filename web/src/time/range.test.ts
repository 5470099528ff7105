import { describe, expect, it } from 'vitest'
import { fromInput, spanText, toInput } from './clock.ts'
import { between, formatSpan, niceStep, parseSpan, resolve, shift, spanInWords, toSpan, zoomOut } from './range.ts'
import { rangeFromParams, rangeToChange, refreshInterval } from './useTimeRange.ts'

const NOW = 1_800_000_000

describe('spans', () => {
  it.each([['15m', 900], ['1h30m', 5400], [' 2 d ', 172_800], ['10s', 10]])('%s is %d seconds', (text, want) => expect(parseSpan(text)).toBe(want))
  it.each(['', 'm', '5', '5x', '-5m', '1s', '900d', '5m; drop'])('%j is none', (text) => expect(parseSpan(text)).toBeNull())
  it.each([[900, '15m'], [5400, '90m'], [86_400, '1d'], [61, '61s'], [1, '10s']])('%d seconds are %s', (n, want) => expect(formatSpan(n)).toBe(want))
  it('reads as words', () => {
    expect(spanInWords('15m')).toBe('Last 15 minutes')
    expect(spanInWords('1h')).toBe('Last hour')
    expect(spanInWords('1h30m')).toBe('Last 1h30m')
  })
})

describe('ranges', () => {
  it('resolves a relative range to now', () => {
    expect(resolve({ kind: 'relative', span: '5m' }, NOW)).toEqual({ from: NOW - 300, to: NOW })
  })
  it('leaves a relative range to the server, and names both ends of an absolute one', () => {
    expect(toSpan({ kind: 'relative', span: '15m' })).toEqual({ start: '-15m' })
    expect(toSpan({ kind: 'absolute', from: 10, to: 20 })).toEqual({ start: '10', end: '20' })
  })
  it('orders and widens a dragged range', () => {
    expect(between(NOW + 0.7, NOW - 99.2)).toEqual({ kind: 'absolute', from: NOW - 100, to: NOW + 1 })
    const tiny = between(NOW, NOW + 1)
    expect(tiny.kind === 'absolute' && tiny.to - tiny.from).toBe(10)
  })
  it('moves earlier, and back to now as a relative range', () => {
    const earlier = shift({ kind: 'relative', span: '10m' }, -0.5, NOW)
    expect(earlier).toEqual({ kind: 'absolute', from: NOW - 900, to: NOW - 300 })
    expect(shift(earlier, 0.5, NOW)).toEqual({ kind: 'relative', span: '10m' })
  })
  it('zooms out around the middle, never beyond now', () => {
    expect(zoomOut({ kind: 'relative', span: '5m' }, NOW)).toEqual({ kind: 'relative', span: '10m' })
    expect(zoomOut({ kind: 'absolute', from: NOW - 1000, to: NOW - 900 }, NOW)).toEqual({ kind: 'absolute', from: NOW - 1050, to: NOW - 850 })
    expect(zoomOut({ kind: 'absolute', from: NOW - 100, to: NOW }, NOW)).toEqual({ kind: 'absolute', from: NOW - 200, to: NOW })
  })
  it('takes round steps', () => {
    expect(niceStep(300, 300)).toBe(5)
    expect(niceStep(3600, 300)).toBe(15)
    expect(niceStep(30 * 86_400, 300)).toBe(14_400)
  })
})

describe('the URL', () => {
  const read = (text: string) => rangeFromParams(new URLSearchParams(text))
  it('holds a range', () => {
    expect(read('range=1h')).toEqual({ kind: 'relative', span: '1h' })
    expect(read('from=100&to=200')).toEqual({ kind: 'absolute', from: 100, to: 200 })
  })
  it.each(['', 'range=nonsense', 'from=200&to=100', 'from=abc&to=5', 'range='])('%j falls back to the default', (text) => {
    expect(read(text)).toEqual({ kind: 'relative', span: '5m' })
  })
  it('does not name the default', () => {
    expect(rangeToChange({ kind: 'relative', span: '5m' })).toEqual({ range: null, from: null, to: null })
    expect(rangeToChange({ kind: 'absolute', from: 1, to: 99 })).toEqual({ range: null, from: '1', to: '99' })
  })
  it('refreshes only what moves', () => {
    expect(refreshInterval({ kind: 'relative', span: '5m' }, '10s')).toBe(10_000)
    expect(refreshInterval({ kind: 'relative', span: '5m' }, '1m')).toBe(60_000)
    expect(refreshInterval({ kind: 'relative', span: '5m' }, 'off')).toBe(false)
    expect(refreshInterval({ kind: 'absolute', from: 1, to: 2 }, '10s')).toBe(false)
  })
})

describe('clock', () => {
  it('goes through an input and back', () => expect(fromInput(toInput(NOW))).toBe(NOW))
  it('refuses an empty input', () => expect(fromInput('')).toBeNull())
  it('names the day only where it is not today', () => {
    const noon = new Date(2026, 10, 21, 12, 0, 0).getTime() / 1000
    expect(spanText(noon, noon + 60, noon)).toBe('12:00:00 – 12:01:00')
    expect(spanText(noon, noon + 60, noon + 86_400)).toBe('2026-11-21 12:00:00 – 12:01:00')
    expect(spanText(noon, noon + 86_400, noon)).toBe('2026-11-21 12:00 – 2026-11-22 12:00')
  })
})
