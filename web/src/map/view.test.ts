import { describe, expect, it } from 'vitest'
import { between, contains, fit, parseView, printView, reveal, toScreen, toWorld, zoomAt } from './view.ts'

const SIZE = { width: 1000, height: 600 }
const VIEW = { scale: 2, x: 30, y: -40 }

describe('view', () => {
  it('maps there and back', () => {
    const p = { x: 12.5, y: -7 }
    expect(toWorld(VIEW, toScreen(VIEW, p))).toEqual(p)
  })
  it('keeps what is under the pointer when it zooms', () => {
    const at = { x: 200, y: 100 }
    const before = toWorld(VIEW, at)
    const after = toWorld(zoomAt(VIEW, at, 1.3), at)
    expect(after.x).toBeCloseTo(before.x)
    expect(after.y).toBeCloseTo(before.y)
  })
  it('does not zoom without end', () => {
    expect(zoomAt(VIEW, { x: 0, y: 0 }, 1e9).scale).toBe(4)
    expect(zoomAt(VIEW, { x: 0, y: 0 }, 1e-9).scale).toBe(0.02)
  })
  it.each([
    { minX: 0, minY: 0, maxX: 5000, maxY: 300 }, { minX: -90, minY: -9000, maxX: 10, maxY: 300 }, { minX: 5, minY: 5, maxX: 5, maxY: 5 },
  ])('fits %j', (bounds) => {
    const view = fit(bounds, SIZE)
    expect(contains(view, bounds, SIZE)).toBe(true)
    expect(view.scale).toBeLessThanOrEqual(1)
  })
  it('moves only as far as needed', () => {
    const at = { x: 100, y: 100 }
    expect(reveal(VIEW, at, SIZE)).toBe(VIEW)
    const p = toScreen(reveal(VIEW, { x: 9000, y: 100 }, SIZE, 300), { x: 9000, y: 100 })
    expect(p.x).toBeCloseTo(1000 - 300 - 110)
    expect(p.y).toBeCloseTo(160)
  })
  it('goes into the URL and comes back on another screen with the same middle', () => {
    const text = printView({ scale: 0.5, x: 0, y: 0 }, SIZE)
    expect(text).toBe('1000,600,0.5')
    const other = { width: 500, height: 500 }
    expect(toWorld(parseView(text, other)!, { x: 250, y: 250 })).toEqual({ x: 1000, y: 600 })
  })
  it.each([null, '', '1,2', '1,2,x', '1,2,0', '1,2,-3', '1,2,3,4'])('refuses %j', (text) => expect(parseView(text, SIZE)).toBeNull())
  it('moves from one view to another', () => {
    expect(between(VIEW, { scale: 8, x: 0, y: 0 }, 0)).toEqual(VIEW)
    expect(between(VIEW, { scale: 8, x: 0, y: 0 }, 0.5).scale).toBeCloseTo(4)
  })
})
