// Where the reader looks: screen = world * scale + offset.
import type { Bounds } from './graph.ts'

export interface View {
  scale: number
  x: number
  y: number
}

export interface Point {
  x: number
  y: number
}

export interface Size {
  width: number
  height: number
}

export const MIN_SCALE = 0.02
export const MAX_SCALE = 4

const clamp = (v: number, low: number, high: number) => Math.min(high, Math.max(low, v))

export const toScreen = (view: View, p: Point): Point => ({ x: p.x * view.scale + view.x, y: p.y * view.scale + view.y })
export const toWorld = (view: View, p: Point): Point => ({ x: (p.x - view.x) / view.scale, y: (p.y - view.y) / view.scale })

/** Zooms by `factor` and keeps what is under `at` where it is. */
export function zoomAt(view: View, at: Point, factor: number): View {
  const scale = clamp(view.scale * factor, MIN_SCALE, MAX_SCALE)
  const fixed = toWorld(view, at)
  return { scale, x: at.x - fixed.x * scale, y: at.y - fixed.y * scale }
}

/** Pixels that a fitted map leaves free: half a card at the sides, the tool bar above, the legend below. */
const ROOM = { side: 110, top: 84, bottom: 76 }

/** The view that shows all of `bounds`, never magnified, left of what covers `right` pixels. */
export function fit(bounds: Bounds, whole: Size, right = 0): View {
  const size = { width: whole.width - right, height: whole.height }
  const width = Math.max(1, bounds.maxX - bounds.minX)
  const height = Math.max(1, bounds.maxY - bounds.minY)
  const free = { width: Math.max(50, size.width - 2 * ROOM.side), height: Math.max(50, size.height - ROOM.top - ROOM.bottom) }
  const scale = clamp(Math.min(free.width / width, free.height / height), MIN_SCALE, 1)
  const view = centre({ x: (bounds.minX + bounds.maxX) / 2, y: (bounds.minY + bounds.maxY) / 2 }, scale, size)
  return { ...view, y: view.y + (ROOM.top - ROOM.bottom) / 2 }
}

/** The view with a point of the world in the middle. */
export function centre(at: Point, scale: number, size: Size): View {
  return { scale, x: size.width / 2 - at.x * scale, y: size.height / 2 - at.y * scale }
}

/** The view moved as little as needed for a point of the world to be in sight, left of what covers `right` pixels; the same view when it is. */
export function reveal(view: View, at: Point, size: Size, right = 0): View {
  const margin = 110
  const p = toScreen(view, at)
  const x = clamp(p.x, margin, Math.max(margin, size.width - right - margin))
  const y = clamp(p.y, margin, Math.max(margin, size.height - margin))
  return x === p.x && y === p.y ? view : { scale: view.scale, x: view.x + x - p.x, y: view.y + y - p.y }
}

/** Whether all of the bounds is in sight. */
export function contains(view: View, bounds: Bounds, size: Size): boolean {
  const a = toScreen(view, { x: bounds.minX, y: bounds.minY })
  const b = toScreen(view, { x: bounds.maxX, y: bounds.maxY })
  return a.x >= 0 && a.y >= 0 && b.x <= size.width && b.y <= size.height
}

/** For the URL: "x,y,scale" of the world's point in the middle of the screen, so that it does not depend on the screen's size. */
export function printView(view: View, size: Size): string {
  const middle = toWorld(view, { x: size.width / 2, y: size.height / 2 })
  return `${Math.round(middle.x)},${Math.round(middle.y)},${Number(view.scale.toPrecision(3))}`
}

export function parseView(text: string | null, size: Size): View | null {
  const parts = (text ?? '').split(',').map(Number)
  const [x, y, scale] = parts
  if (parts.length !== 3 || !parts.every(Number.isFinite) || scale! <= 0) return null
  return centre({ x: x!, y: y! }, clamp(scale!, MIN_SCALE, MAX_SCALE), size)
}

/** A view between two, for a movement; t from 0 to 1. The scale changes evenly to the eye. */
export function between(a: View, b: View, t: number): View {
  const mix = (p: number, q: number) => p + (q - p) * t
  return { scale: Math.exp(mix(Math.log(a.scale), Math.log(b.scale))), x: mix(a.x, b.x), y: mix(a.y, b.y) }
}
