import { describe, expect, it } from 'vitest'
import { byteRate, bytes, compact, duration, exact, percent, rate, significant } from './number.ts'

describe('figures', () => {
  it.each([
    [0, '0'], [0.00123456, '0.00123'], [1.239, '1.24'], [12.345, '12.3'], [123.6, '124'], [0.5, '0.5'], [-2.5, '-2.5'],
  ])('significant(%s) is %s', (v, want) => expect(significant(v)).toBe(want))

  it.each([
    [null, '–'], [undefined, '–'], [NaN, '–'], [0, '0'], [999, '999'], [999.9, '1k'], [1234, '1.23k'], [1_234_567, '1.23M'],
  ])('compact(%s) is %s', (v, want) => expect(compact(v)).toBe(want))

  it.each([[null, '–'], [0, '0/s'], [0.004, '<0.01/s'], [0.126, '0.13/s'], [12.34, '12.3/s'], [45_678, '45.7k/s']])(
    'rate(%s) is %s', (v, want) => expect(rate(v)).toBe(want))

  it.each([
    [null, '–'], [0, '0 %'], [0.00001, '<0.01 %'], [0.00123, '0.12 %'], [0.0123, '1.23 %'], [0.9999, '99.9 %'], [1, '100 %'],
  ])('percent(%s) is %s', (v, want) => expect(percent(v)).toBe(want))

  it.each([
    [null, '–'], [0, '0 s'], [2.5e-7, '250 ns'], [0.000045, '45 µs'], [0.0123, '12.3 ms'], [1.5, '1.5 s'], [180, '3 min'], [10_800, '3 h'],
  ])('duration(%s) is %s', (v, want) => expect(duration(v)).toBe(want))

  it('writes bytes in binary units', () => {
    expect(bytes(0)).toBe('0 B')
    expect(bytes(1536)).toBe('1.5 KiB')
    expect(byteRate(5 * 1024 * 1024)).toBe('5 MiB/s')
    expect(byteRate(null)).toBe('–')
  })

  it('keeps what is not a number as it is', () => {
    expect(exact('1234567')).toBe('1,234,567')
    expect(exact('0.1')).toBe('0.1')
    expect(exact('NaN')).toBe('NaN')
    expect(exact('+Inf')).toBe('+Inf')
  })
})
