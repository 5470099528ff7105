// How large a node is on the screen at a scale, and which way its edges run.
import type { GraphEdge, GraphNode } from './graph.ts'
import { type Point, toScreen, type View } from './view.ts'

/** What is drawn of a node: only its health, its name too, or a card with figures. */
export type Detail = 'mark' | 'name' | 'card'

/** A card at scale 1, inside the cell of 260 x 80 that the server gives each node. */
export const CARD = { width: 184, height: 46 }
export const CELL = { width: 260, height: 80 }
/** Pixels between two columns of cards that belong to the edges at any scale. */
const GAP = 46

export function detailAt(scale: number): Detail {
  return scale >= 0.6 ? 'card' : scale >= 0.32 ? 'name' : 'mark'
}

/** Magnification of cards and text: they grow with the zoom, but less than the distances do. In steps, so that measured texts can be remembered. */
export function textScale(scale: number): number {
  return Math.round(Math.min(1.2, Math.max(0.82, scale)) * 20) / 20
}

/** Radius of the health mark in pixels: a little larger where there is more traffic. */
export function markRadius(node: GraphNode, scale: number): number {
  const busy = Math.min(1, Math.log10(1 + (node.rate ?? 0)) / 4)
  const folded = node.members.length > 0 ? 1.6 : 1
  return (3 + 4 * busy) * folded * Math.min(1.3, Math.max(0.7, Math.sqrt(scale * 3)))
}

/** Half of a node's width and height in pixels. */
export function halfSize(node: GraphNode, scale: number): Point {
  if (detailAt(scale) === 'card') {
    const k = textScale(scale)
    return { x: Math.min(CARD.width * k, CELL.width * scale - GAP) / 2, y: (CARD.height / 2) * k }
  }
  const r = markRadius(node, scale) + 1
  return { x: r, y: r }
}

/** From a to b on the screen. A cubic curve where c and d are given, else straight. */
export interface Line {
  a: Point
  b: Point
  c?: Point
  d?: Point
}

/** Radius of the loop that stands for a workload's calls to itself. */
export const LOOP = 9

/**
 * The line of an edge. The server lays the map out in columns, callers to the left: so an edge leaves at the right and arrives at the
 * left, or the other way round when it runs back, and bulges to the right within a column. A pair runs side by side. Far out, where
 * curves would only cost time, lines are straight. A call to itself is a point at the upper right corner.
 */
export function edgeLine(nodes: readonly GraphNode[], edge: GraphEdge, view: View): Line {
  const from = nodes[edge.from]!
  const to = nodes[edge.to]!
  const p = toScreen(view, from)
  const q = toScreen(view, to)
  const h = halfSize(from, view.scale)
  if (from === to) {
    const corner = { x: p.x + h.x, y: p.y - h.y }
    return { a: corner, b: corner }
  }
  const g = halfSize(to, view.scale)
  const aside = edge.paired ? (q.x >= p.x ? -1 : 1) * Math.min(6, g.y / 2) : 0
  const apart = CARD.width * view.scale * 0.5
  const way = q.x - p.x > apart ? 1 : q.x - p.x < -apart ? -1 : 0
  const a = { x: p.x + (way || 1) * h.x, y: p.y + aside }
  const b = { x: q.x - (way || -1) * g.x, y: q.y + aside }
  if (detailAt(view.scale) === 'mark') return { a, b }
  const reach = way === 0 ? 46 * view.scale : Math.max(24 * view.scale, Math.min(220 * view.scale, Math.abs(b.x - a.x) * 0.45))
  const lift = skipsInRow(p, q, view.scale) ? 0.72 * CELL.height * view.scale : 0
  return { a, b, c: { x: a.x + (way || 1) * reach, y: a.y - lift }, d: { x: b.x - (way || -1) * reach, y: b.y - lift } }
}

/** Whether a straight line would run through the cards between: it goes over a column within one row. Such an edge is bowed into the gap above. */
function skipsInRow(p: Point, q: Point, scale: number): boolean {
  return Math.abs(q.x - p.x) > 1.5 * CELL.width * scale && Math.abs(q.y - p.y) < 0.5 * CELL.height * scale
}

/** A point of the line; t from 0 to 1. */
export function along({ a, b, c, d }: Line, t: number): Point {
  const s = 1 - t
  if (!c || !d) return { x: a.x * s + b.x * t, y: a.y * s + b.y * t }
  const mix = (k: 'x' | 'y') => s * s * s * a[k] + 3 * s * s * t * c[k] + 3 * s * t * t * d[k] + t * t * t * b[k]
  return { x: mix('x'), y: mix('y') }
}
