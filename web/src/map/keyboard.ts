// Moving over the map by the arrow keys.
import type { GraphNode } from './graph.ts'

export type Direction = 'ArrowLeft' | 'ArrowRight' | 'ArrowUp' | 'ArrowDown'

const VECTORS: Record<Direction, [number, number]> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
}

/** The nearest node in a direction: within 60 degrees to either side, where far to the side counts as farther. Null when there is none. */
export function nodeTowards(nodes: readonly GraphNode[], from: GraphNode, direction: Direction): GraphNode | null {
  const [vx, vy] = VECTORS[direction]
  let best: GraphNode | null = null
  let bestCost = Infinity
  for (const node of nodes) {
    if (node === from) continue
    const dx = node.x - from.x
    const dy = node.y - from.y
    const along = dx * vx + dy * vy
    const aside = Math.abs(dx * vy - dy * vx)
    if (along <= 0 || aside > along * 1.75) continue
    const cost = along + aside * 2
    if (cost < bestCost) {
      bestCost = cost
      best = node
    }
  }
  return best
}

/** Where the arrows start: the first in trouble, then the busiest. */
export function startNode(nodes: readonly GraphNode[]): GraphNode | null {
  const trouble = { critical: 3, warning: 2, ok: 1, idle: 0 }
  return nodes.reduce<GraphNode | null>((best, n) => {
    if (!best) return n
    const diff = trouble[n.health] - trouble[best.health] || (n.rate ?? 0) - (best.rate ?? 0)
    return diff > 0 ? n : best
  }, null)
}
