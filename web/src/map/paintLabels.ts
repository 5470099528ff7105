import { duration, percent, rate } from '../format/number.ts'
import type { GraphEdge } from './graph.ts'
import type { Frame } from './paint.ts'
import { visibleEdges } from './paintEdges.ts'
import { along, detailAt, edgeLine, halfSize, type Line } from './shape.ts'
import { type Point, toScreen } from './view.ts'

/** Above this many labels they would only cover each other. */
const MAX_LABELS = 24
const ALL_FROM_SCALE = 1.3
const LINE_HEIGHT = 13

/** What is known of an edge, one figure a line: "900/s", "p95 37 ms", "9.9 % err". */
export function edgeFigures({ rate: r, p95, errorShare }: Pick<GraphEdge, 'rate' | 'p95' | 'errorShare'>): string[] {
  if (r === null) return []
  const lines = [rate(r)]
  if (p95 !== null) lines.push(`p95 ${duration(p95)}`)
  if (errorShare !== null && errorShare >= 0.0001) lines.push(`${percent(errorShare)} err`)
  return lines
}

interface Box {
  at: Point
  half: Point
}

/** Figures on the lines that are pointed at or chosen, or on all in sight when the view is near. */
export function paintEdgeLabels(frame: Frame) {
  const labels = wanted(frame).map(({ edge, line }) => ({ edge, line, figures: edgeFigures(edge) })).filter((l) => l.figures.length > 0)
  if (labels.length === 0 || labels.length > MAX_LABELS) return
  const taken = nodeBoxes(frame)
  frame.ctx.font = `500 11px ${frame.palette.font}`
  for (const { edge, line, figures } of labels) {
    const width = Math.max(...figures.map((f) => frame.ctx.measureText(f).width))
    const half = { x: width / 2 + 5, y: (figures.length * LINE_HEIGHT) / 2 + 3 }
    const at = placeLabel(line, half, taken)
    taken.push({ at, half })
    paintLabel(frame, edge, figures, at, half)
  }
}

function wanted(frame: Frame): { edge: GraphEdge; line: Line }[] {
  const { graph, view, hoverNode, hoverEdge, selectedNode, selectedEdge } = frame
  const node = hoverNode >= 0 ? hoverNode : selectedNode
  const single = hoverEdge >= 0 ? hoverEdge : hoverNode < 0 ? selectedEdge : -1
  const chosen = single >= 0 ? [single] : node >= 0 && detailAt(view.scale) === 'card' ? graph.nodes[node]!.edges : []
  if (chosen.length === 0 && view.scale >= ALL_FROM_SCALE) return visibleEdges(frame)
  return chosen.map((i) => ({ edge: graph.edges[i]!, line: edgeLine(graph.nodes, graph.edges[i]!, view) }))
}

function nodeBoxes({ graph, view, size }: Frame): Box[] {
  const boxes: Box[] = []
  for (const node of graph.nodes) {
    const at = toScreen(view, node)
    if (at.x > -100 && at.y > -50 && at.x < size.width + 100 && at.y < size.height + 50) boxes.push({ at, half: halfSize(node, view.scale) })
  }
  return boxes
}

// The middle is best; then what is near it.
const TRIES = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8]

/** A place on the line where a box of this half size covers nothing; the middle where there is none. */
export function placeLabel(line: Line, half: Point, taken: readonly Box[]): Point {
  for (const t of TRIES) {
    const at = along(line, t)
    if (taken.every((b) => Math.abs(b.at.x - at.x) >= b.half.x + half.x || Math.abs(b.at.y - at.y) >= b.half.y + half.y)) return at
  }
  return along(line, 0.5)
}

function paintLabel({ ctx, palette }: Frame, edge: GraphEdge, figures: readonly string[], at: Point, half: Point) {
  const calm = edge.health === 'ok' || edge.health === 'idle'
  ctx.beginPath()
  ctx.roundRect(at.x - half.x, at.y - half.y, 2 * half.x, 2 * half.y, 5)
  ctx.fillStyle = palette.surface
  ctx.fill()
  ctx.strokeStyle = calm ? palette.line : palette.health[edge.health]
  ctx.lineWidth = 1
  ctx.stroke()
  ctx.fillStyle = palette.text
  ctx.textAlign = 'center'
  ctx.textBaseline = 'middle'
  figures.forEach((figure, i) => ctx.fillText(figure, at.x, at.y - half.y + 3 + (i + 0.5) * LINE_HEIGHT))
}
