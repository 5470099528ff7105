import type { Health } from '../api/types.ts'
import type { GraphEdge } from './graph.ts'
import type { Frame } from './paint.ts'
import { edgeLine, type Line, LOOP } from './shape.ts'
import type { Size } from './view.ts'

// Dash as well as colour says how an edge is: solid, long, short, dots.
export const DASH: Record<Health, number[]> = { ok: [], warning: [10, 5], critical: [4, 3], idle: [1, 4] }
const CALM_FIRST: readonly Health[] = ['idle', 'ok', 'warning', 'critical']
const DIMMED = 0.15
/** Above this many edges in sight the calm ones step back. */
const CROWD = 200
const ARROWS_FROM_SCALE = 0.32

/** Thickness of a line by its rate: 1 pixel, and about one more for each factor of ten. */
export function lineWidth(edge: GraphEdge, scale: number): number {
  const full = 1 + Math.min(4, Math.log10(1 + (edge.rate ?? 0))) * 0.8
  return scale < 0.32 ? Math.max(0.75, full * 0.6) : full
}

export interface Drawn {
  edge: GraphEdge
  index: number
  line: Line
}

/** Edges in sight, in batches of one style, so that a frame needs few state changes. */
export function paintEdges(frame: Frame) {
  const { ctx, light, view } = frame
  const batches = new Map<string, Drawn[]>()
  const visible = visibleEdges(frame)
  const crowded = visible.length > CROWD
  for (const drawn of visible) {
    const { edge, index } = drawn
    const lit = light.edges === null ? 'all' : light.edges.has(index) ? 'lit' : 'dim'
    const key = `${CALM_FIRST.indexOf(edge.health)} ${lit} ${Math.round(lineWidth(edge, view.scale) * 2) / 2}`
    const list = batches.get(key)
    if (list) list.push(drawn)
    else batches.set(key, [drawn])
  }
  const order = [...batches.keys()].sort((a, b) => rank(a) - rank(b))
  for (const key of order) paintBatch(frame, key, batches.get(key)!, crowded)
  ctx.globalAlpha = 1
  ctx.setLineDash([])
}

const rank = (key: string) => Number(key[0]) + (key.includes('dim') ? -10 : 0)

export function visibleEdges({ graph, view, size }: Frame): Drawn[] {
  const out: Drawn[] = []
  graph.edges.forEach((edge, index) => {
    const line = edgeLine(graph.nodes, edge, view)
    if (inSight(line, size)) out.push({ edge, index, line })
  })
  return out
}

function inSight({ a, b, c = a, d = b }: Line, { width, height }: Size): boolean {
  if (Math.max(a.y, b.y, c.y, d.y) < 0 || Math.min(a.y, b.y, c.y, d.y) > height) return false
  return Math.max(a.x, b.x, c.x, d.x) >= 0 && Math.min(a.x, b.x, c.x, d.x) <= width
}

function paintBatch({ ctx, palette, view, light }: Frame, key: string, batch: readonly Drawn[], crowded: boolean) {
  const [level, lit, width] = key.split(' ')
  const health = CALM_FIRST[Number(level)]!
  const calm = health === 'ok' || health === 'idle'
  const back = crowded && calm && light.edges === null
  ctx.globalAlpha = lit === 'dim' ? DIMMED : back ? 0.45 : 1
  ctx.strokeStyle = ctx.fillStyle = calm ? (lit === 'lit' ? palette.accent : palette.edge) : palette.health[health]
  ctx.lineWidth = back ? Math.max(0.75, Number(width) * 0.6) : Number(width)
  ctx.setLineDash(crowded && calm ? [] : DASH[health])
  ctx.beginPath()
  for (const { line, edge } of batch) {
    const { a, b, c, d } = line
    const loop = edge.from === edge.to
    ctx.moveTo(a.x + (loop ? LOOP : 0), a.y)
    if (loop) ctx.arc(a.x, a.y, LOOP, 0, 2 * Math.PI)
    else if (c && d) ctx.bezierCurveTo(c.x, c.y, d.x, d.y, b.x, b.y)
    else ctx.lineTo(b.x, b.y)
  }
  ctx.stroke()
  if (view.scale < ARROWS_FROM_SCALE) return
  ctx.beginPath()
  for (const { line } of batch) arrow(ctx, line, 5 + Number(width) * 1.5)
  ctx.fill()
}

function arrow(ctx: CanvasRenderingContext2D, { a, b, d = a }: Line, size: number) {
  const dx = b.x - d.x
  const dy = b.y - d.y
  const length = Math.hypot(dx, dy)
  if (length === 0) return
  const [ux, uy] = [dx / length, dy / length]
  const [cx, cy] = [b.x - ux * size, b.y - uy * size]
  ctx.moveTo(b.x, b.y)
  ctx.lineTo(cx - uy * size * 0.4, cy + ux * size * 0.4)
  ctx.lineTo(cx + uy * size * 0.4, cy - ux * size * 0.4)
  ctx.closePath()
}

