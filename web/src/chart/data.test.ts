import { expect, it } from 'vitest'
import { sparkPath } from '../ui/Sparkline.tsx'
import { align, lastKnown, stack } from './data.ts'

it('puts series of different starts on one axis', () => {
  const grid = align([{ start: 100, step: 10, values: [1, null, 3] }, { start: 110, step: 10, values: [5, 6, 7] }])
  expect(grid).toEqual({ times: [100, 110, 120, 130], rows: [[1, null, 3, null], [null, 5, 6, 7]] })
  expect(align([])).toEqual({ times: [], rows: [] })
})

it('stacks, and keeps gaps where nothing is known', () => {
  expect(stack([[1, null, null], [2, 3, null]])).toEqual([[1, 0, null], [3, 3, null]])
})

it('finds the last known time', () => {
  expect(lastKnown([{ values: [1, 2, null] }, { values: [null, null, null] }])).toBe(1)
  expect(lastKnown([])).toBe(-1)
})

it('draws a spark line with gaps, a dash for a lone value, and nothing for nothing', () => {
  expect(sparkPath([null, null], 10, 10)).toBe('')
  expect(sparkPath([0, 1, null, 2], 30, 12)).toBe('M0.0 11.0L10.0 6.0M30.0 1.0h1.5')
  expect(sparkPath([1], 30, 12, 2)).toBe('M0.0 6.0h1.5')
  expect(sparkPath([0, 0], 10, 10)).toBe('M0.0 9.0L10.0 9.0')
})
