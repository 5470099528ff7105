import type { Health } from '../api/types.ts'
import { duration, percent, rate } from '../format/number.ts'
import type { GraphNode } from './graph.ts'
import type { Frame } from './paint.ts'
import { CELL, detailAt, halfSize, markRadius, textScale } from './shape.ts'
import { type Point, toScreen } from './view.ts'
import { counted } from './words.ts'

const DIMMED = 0.35
/** Up to this many nodes carry their name at any scale. */
const FEW = 80

/** Nodes in sight; the bright ones last, so that they lie on top. */
export function paintNodes(frame: Frame) {
  const { graph, light, size, view } = frame
  const detail = detailAt(view.scale)
  const named = detail === 'name' || graph.nodes.length <= FEW
  const later: number[] = []
  graph.nodes.forEach((_, i) => {
    if (light.nodes?.has(i) || isMarked(frame, i)) later.push(i)
    else paintOne(i, light.nodes === null ? 1 : DIMMED)
  })
  later.forEach((i) => paintOne(i, 1))
  frame.ctx.globalAlpha = 1

  function paintOne(index: number, alpha: number) {
    const node = graph.nodes[index]!
    const at = toScreen(view, node)
    const half = halfSize(node, view.scale)
    if (at.x + half.x + 60 < 0 || at.y + half.y + 20 < 0 || at.x - half.x - 60 > size.width || at.y - half.y - 20 > size.height) return
    frame.ctx.globalAlpha = alpha
    if (detail === 'card') paintCard(frame, node, index, at, half)
    else paintMark(frame, node, index, at, named || index === frame.hoverNode || index === frame.focusNode)
  }
}

const isMarked = (f: Frame, i: number) => i === f.hoverNode || i === f.selectedNode || i === f.focusNode

/** Disc, triangle, diamond or ring, as in ui/Health.tsx. */
export function healthPath(ctx: CanvasRenderingContext2D, health: Health, { x, y }: Point, r: number) {
  ctx.beginPath()
  if (health === 'warning') {
    ctx.moveTo(x, y - r * 1.15)
    ctx.lineTo(x + r * 1.15, y + r * 0.85)
    ctx.lineTo(x - r * 1.15, y + r * 0.85)
    ctx.closePath()
  } else if (health === 'critical') {
    ctx.moveTo(x, y - r * 1.3)
    ctx.lineTo(x + r * 1.3, y)
    ctx.lineTo(x, y + r * 1.3)
    ctx.lineTo(x - r * 1.3, y)
    ctx.closePath()
  } else {
    ctx.arc(x, y, health === 'idle' ? r * 0.85 : r, 0, 2 * Math.PI)
  }
}

function paintHealth({ ctx, palette }: Frame, health: Health, at: Point, r: number) {
  healthPath(ctx, health, at, r)
  ctx.fillStyle = health === 'idle' ? palette.bg : palette.health[health]
  ctx.fill()
  if (health !== 'idle') return
  ctx.strokeStyle = palette.health.idle
  ctx.lineWidth = Math.max(1, r * 0.4)
  ctx.stroke()
}

function paintMark(frame: Frame, node: GraphNode, index: number, at: Point, named: boolean) {
  const { ctx, palette, view } = frame
  const r = markRadius(node, view.scale)
  if (isMarked(frame, index)) ring(frame, index, () => ctx.arc(at.x, at.y, r * 1.3 + 4, 0, 2 * Math.PI))
  if (node.members.length > 0) {
    ctx.beginPath()
    ctx.arc(at.x, at.y, r * 1.5, 0, 2 * Math.PI)
    ctx.fillStyle = palette.surface
    ctx.fill()
    ctx.strokeStyle = palette.line
    ctx.lineWidth = 1
    ctx.stroke()
  }
  paintHealth(frame, node.health, at, r)
  if (!named) return
  ctx.font = `500 10.5px ${palette.font}`
  ctx.textAlign = 'center'
  ctx.textBaseline = 'top'
  const width = index === frame.hoverNode || index === frame.focusNode ? 400 : Math.max(80, CELL.width * 0.9 * view.scale)
  const text = shorten(ctx, node.name, width)
  ctx.lineWidth = 3
  ctx.strokeStyle = palette.bg
  ctx.strokeText(text, at.x, at.y + r * 1.3 + 2)
  ctx.fillStyle = palette.text
  ctx.fillText(text, at.x, at.y + r * 1.3 + 2)
}

function paintCard(frame: Frame, node: GraphNode, index: number, at: Point, half: Point) {
  const { ctx, palette, view } = frame
  const k = textScale(view.scale)
  const left = at.x - half.x
  const box = () => ctx.roundRect(left, at.y - half.y, 2 * half.x, 2 * half.y, 6 * k)
  const folded = node.members.length > 0
  if (isMarked(frame, index)) ring(frame, index, () => ctx.roundRect(left - 3, at.y - half.y - 3, 2 * half.x + 6, 2 * half.y + 6, 8 * k))
  if (folded) stack(frame, left, at.y - half.y, half, k)
  ctx.beginPath()
  box()
  ctx.fillStyle = palette.soft[node.health]
  ctx.fill()
  ctx.strokeStyle = node.health === 'ok' || node.health === 'idle' ? palette.line : palette.health[node.health]
  ctx.lineWidth = 1
  ctx.setLineDash(node.kind === 'External' ? [4, 3] : [])
  ctx.stroke()
  ctx.setLineDash([])
  paintHealth(frame, node.health, { x: left + 13 * k, y: at.y }, 5 * k)
  ctx.textAlign = 'left'
  ctx.textBaseline = 'middle'
  const room = 2 * half.x - 32 * k
  ctx.font = `600 ${12 * k}px ${palette.font}`
  ctx.fillStyle = palette.text
  ctx.fillText(shorten(ctx, node.name, room), left + 25 * k, at.y - 7.5 * k)
  ctx.font = `400 ${10.5 * k}px ${palette.font}`
  ctx.fillStyle = palette.muted
  ctx.fillText(shorten(ctx, subtitle(node), room), left + 25 * k, at.y + 8.5 * k)
}

/** The figures, or what it is while there are none. */
export function subtitle(node: GraphNode): string {
  const count = node.members.length > 0 ? [counted(node.members.length, 'workload')] : []
  if (node.rate === null) return [...count, ...(count.length > 0 ? [] : [node.kind])].join(' · ')
  const bad = node.errorShare !== null && node.errorShare > 0 ? [percent(node.errorShare)] : []
  const slow = node.p95 !== null ? [duration(node.p95)] : []
  return [...count, rate(node.rate), ...bad, ...slow].join(' · ')
}

/** Two sheets behind a card: there is more in it. */
function stack({ ctx, palette }: Frame, left: number, top: number, half: Point, k: number) {
  for (const off of [6, 3]) {
    ctx.beginPath()
    ctx.roundRect(left + off * k, top + off * k, 2 * half.x, 2 * half.y, 6 * k)
    ctx.fillStyle = palette.surface
    ctx.fill()
    ctx.strokeStyle = palette.line
    ctx.lineWidth = 1
    ctx.stroke()
  }
}

function ring({ ctx, palette, hoverNode, focusNode, selectedNode }: Frame, index: number, path: () => void) {
  ctx.beginPath()
  path()
  ctx.strokeStyle = palette.accent
  ctx.lineWidth = index === selectedNode ? 2.5 : index === focusNode ? 2 : index === hoverNode ? 1 : 2
  ctx.setLineDash(index === focusNode && index !== selectedNode ? [4, 2] : [])
  ctx.stroke()
  ctx.setLineDash([])
}

const shortened = new Map<string, string>()

/** The text, cut with an ellipsis to a width. Remembered, for measuring costs more than drawing. */
function shorten(ctx: CanvasRenderingContext2D, text: string, width: number): string {
  const key = `${ctx.font}|${Math.round(width)}|${text}`
  const known = shortened.get(key)
  if (known !== undefined) return known
  let cut = text
  if (ctx.measureText(text).width > width) {
    let [low, high] = [0, text.length]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (ctx.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle
      else high = middle - 1
    }
    cut = `${text.slice(0, low)}…`
  }
  if (shortened.size > 20_000) shortened.clear()
  shortened.set(key, cut)
  return cut
}
