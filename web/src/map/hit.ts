// What lies under the pointer.
import type { Graph } from './graph.ts'
import { along, edgeLine, halfSize, type Line, LOOP } from './shape.ts'
import { type Point, toScreen, type View } from './view.ts'

export type Hit = { kind: 'node' | 'edge'; index: number } | null

const SLACK = 5
const CURVE_PIECES = 12

export function hitTest(graph: Graph, view: View, at: Point): Hit {
  return nodeAt(graph, view, at) ?? edgeAt(graph, view, at)
}

/** The topmost node, which is the one drawn last. */
function nodeAt(graph: Graph, view: View, at: Point): Hit {
  for (let index = graph.nodes.length - 1; index >= 0; index--) {
    const node = graph.nodes[index]!
    const p = toScreen(view, node)
    const half = halfSize(node, view.scale)
    const small = half.x < 12 ? SLACK : 0
    if (Math.abs(at.x - p.x) <= half.x + small && Math.abs(at.y - p.y) <= half.y + small) return { kind: 'node', index }
  }
  return null
}

function edgeAt(graph: Graph, view: View, at: Point): Hit {
  let best: Hit = null
  let nearest = SLACK
  graph.edges.forEach((edge, index) => {
    const line = edgeLine(graph.nodes, edge, view)
    const d = edge.from === edge.to ? Math.abs(distance(at, line.a, line.a) - LOOP) : lineDistance(at, line)
    if (d < nearest) {
      nearest = d
      best = { kind: 'edge', index }
    }
  })
  return best
}

/** Distance from a line or curve; Infinity where a glance at its box says that it is far. */
function lineDistance(at: Point, line: Line): number {
  const { a, b, c, d } = line
  const xs = [a.x, b.x, c?.x ?? a.x, d?.x ?? b.x]
  if (at.x < Math.min(...xs) - SLACK || at.x > Math.max(...xs) + SLACK) return Infinity
  const ys = [a.y, b.y, c?.y ?? a.y, d?.y ?? b.y]
  if (at.y < Math.min(...ys) - SLACK || at.y > Math.max(...ys) + SLACK) return Infinity
  if (!c || !d) return distance(at, a, b)
  let nearest = Infinity
  let last = a
  for (let i = 1; i <= CURVE_PIECES; i++) {
    const next = along(line, i / CURVE_PIECES)
    nearest = Math.min(nearest, distance(at, last, next))
    last = next
  }
  return nearest
}

/** Distance of a point from a segment. */
export function distance(p: Point, a: Point, b: Point): number {
  const dx = b.x - a.x
  const dy = b.y - a.y
  const length2 = dx * dx + dy * dy
  const t = length2 === 0 ? 0 : Math.max(0, Math.min(1, ((p.x - a.x) * dx + (p.y - a.y) * dy) / length2))
  return Math.hypot(p.x - a.x - t * dx, p.y - a.y - t * dy)
}
