// One frame of the map on a canvas: areas, edges, labels, nodes, in this order.
import type { Graph } from './graph.ts'
import type { Light } from './light.ts'
import { paintEdgeLabels } from './paintLabels.ts'
import { paintEdges } from './paintEdges.ts'
import { paintNodes } from './paintNodes.ts'
import type { Palette } from './palette.ts'
import { halfSize } from './shape.ts'
import { type Size, toScreen, type View } from './view.ts'

export interface Frame {
  ctx: CanvasRenderingContext2D
  graph: Graph
  view: View
  size: Size
  palette: Palette
  light: Light
  /** Indexes; -1 for none. */
  hoverNode: number
  hoverEdge: number
  selectedNode: number
  selectedEdge: number
  focusNode: number
}

export function paint(frame: Frame, pixelRatio: number) {
  const { ctx, size, palette } = frame
  ctx.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0)
  ctx.fillStyle = palette.bg
  ctx.fillRect(0, 0, size.width, size.height)
  ctx.lineJoin = 'round'
  paintAreas(frame)
  paintEdges(frame)
  paintNodes(frame)
  paintEdgeLabels(frame)
}

function paintAreas({ ctx, graph, view, palette }: Frame) {
  if (graph.areas.length === 0) return
  const half = halfSize(graph.nodes[0]!, view.scale)
  const margin = { x: half.x + 12, y: half.y + 10 }
  ctx.font = `600 12px ${palette.font}`
  ctx.textAlign = 'left'
  ctx.textBaseline = 'bottom'
  for (const area of graph.areas) {
    const a = toScreen(view, { x: area.minX, y: area.minY })
    const b = toScreen(view, { x: area.maxX, y: area.maxY })
    ctx.beginPath()
    ctx.roundRect(a.x - margin.x, a.y - margin.y, b.x - a.x + 2 * margin.x, b.y - a.y + 2 * margin.y, 10)
    ctx.globalAlpha = 0.35
    ctx.fillStyle = palette.accentSoft
    ctx.fill()
    ctx.globalAlpha = 1
    ctx.strokeStyle = palette.line
    ctx.lineWidth = 1
    ctx.setLineDash([])
    ctx.stroke()
    ctx.fillStyle = palette.muted
    ctx.fillText(area.namespace, a.x - margin.x + 6, a.y - margin.y - 3)
  }
}
