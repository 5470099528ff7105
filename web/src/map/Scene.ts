// The canvas of the map with what happens on it: pan, zoom, point, choose. React tells it what to show and hears what was done.
import type { Graph } from './graph.ts'
import { type Hit, hitTest } from './hit.ts'
import { find, lightOf, search } from './light.ts'
import { paint } from './paint.ts'
import type { Palette } from './palette.ts'
import { detailAt } from './shape.ts'
import { between, centre, contains, fit, type Point, reveal, type Size, type View, zoomAt } from './view.ts'

export interface SceneEvents {
  /** A click; null beside everything. */
  choose: (hit: Hit) => void
  open: (hit: Hit) => void
  hover: (hit: Hit, at: Point) => void
  /** The view came to rest after the reader moved it. */
  moved: (view: View, size: Size) => void
}

export interface Marks {
  selected: string | null
  focus: string | null
  search: string
}

const EMPTY: Graph = { nodes: [], edges: [], byId: new Map(), bounds: { minX: 0, minY: 0, maxX: 0, maxY: 0 }, areas: [] }
const CLICK_SLACK = 4
const REST_MS = 300
const GLIDE_MS = 220
/** Width of the side panel, which covers the right edge while something is chosen. */
const PANEL = 336

export class Scene {
  private graph = EMPTY
  private view: View = { scale: 1, x: 0, y: 0 }
  private size: Size = { width: 1, height: 1 }
  private marks: Marks = { selected: null, focus: null, search: '' }
  private hover: Hit = null
  private pointers = new Map<number, Point>()
  private pressedAt: Point | null = null
  private touched = false
  private placed = false
  /** Whether performance.mark has told of the first picture; the benchmark waits for it. */
  private announced = false
  private frame = 0
  private rest: ReturnType<typeof setTimeout> | undefined
  private glide: { from: View; to: View; start: number } | null = null
  private readonly off = new AbortController()
  private readonly canvas: HTMLCanvasElement
  private readonly ctx: CanvasRenderingContext2D
  private readonly events: SceneEvents
  private palette: Palette

  constructor(canvas: HTMLCanvasElement, palette: Palette, events: SceneEvents) {
    this.canvas = canvas
    this.ctx = canvas.getContext('2d', { alpha: false })!
    this.palette = palette
    this.events = events
    this.listen()
  }

  destroy() {
    this.off.abort()
    cancelAnimationFrame(this.frame)
    clearTimeout(this.rest)
  }

  setPalette(palette: Palette) {
    this.palette = palette
    this.redraw()
  }

  setMarks(marks: Marks) {
    const chosen = marks.selected !== null && marks.selected !== this.marks.selected
    this.marks = marks
    if (chosen && this.placed) this.show(marks.selected!)
    this.redraw()
  }

  /** The first graph is fitted (or shown as `start` says). Later ones leave the view alone, unless the reader has not moved it and something new lies outside. */
  setGraph(graph: Graph, start: ((size: Size) => View | null) | null) {
    const pointedAt = this.hover && (this.hover.kind === 'node' ? this.graph.nodes : this.graph.edges)[this.hover.index]!.id
    this.graph = graph
    this.hover = find(graph, pointedAt)
    if (!this.placed && graph.nodes.length > 0 && this.size.width > 1) {
      const given = start?.(this.size) ?? null
      this.touched = given !== null
      this.view = given ?? fit(graph.bounds, this.size)
      this.placed = true
      if (!given && this.marks.selected !== null) this.show(this.marks.selected, true)
    } else if (this.placed && !this.touched && !contains(this.view, graph.bounds, this.size)) {
      this.glideTo(fit(graph.bounds, this.size, this.covered()))
    }
    this.redraw()
  }

  resize(size: Size) {
    const ratio = window.devicePixelRatio || 1
    this.size = size
    this.canvas.width = Math.round(size.width * ratio)
    this.canvas.height = Math.round(size.height * ratio)
    if (this.placed && !this.touched) this.view = fit(this.graph.bounds, size)
    this.paintNow()
  }

  fit() {
    this.touched = false
    this.glideTo(fit(this.graph.bounds, this.size))
    this.settle()
  }

  zoom(factor: number) {
    this.touched = true
    this.glideTo(zoomAt(this.glide?.to ?? this.view, { x: this.size.width / 2, y: this.size.height / 2 }, factor))
    this.settle()
  }

  /** Brings a node into sight; with `close` near enough to read it. */
  show(id: string, close = false) {
    const hit = find(this.graph, id)
    if (hit?.kind !== 'node') return
    const node = this.graph.nodes[hit.index]!
    const near = close && detailAt(this.view.scale) !== 'card'
    const inSight = reveal(this.view, node, this.size, this.covered()) === this.view
    if (!inSight && !near && !this.touched) {
      this.glideTo(fit(this.graph.bounds, this.size, this.covered()))
      return
    }
    const target = near ? centre(node, 1, { ...this.size, width: this.size.width - PANEL }) : reveal(this.view, node, this.size, this.covered())
    if (target === this.view) return
    this.touched = true
    this.glideTo(target)
    this.settle()
  }

  private covered(): number {
    return this.marks.selected === null ? 0 : PANEL
  }

  private glideTo(to: View) {
    if (window.matchMedia('(prefers-reduced-motion: reduce)').matches) this.view = to
    else this.glide = { from: this.view, to, start: performance.now() }
    this.redraw()
  }

  private redraw() {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.paintNow())
  }

  private paintNow() {
    cancelAnimationFrame(this.frame)
    this.frame = 0
    this.stepGlide()
    const { graph, view, size, palette, ctx, hover, marks } = this
    const selected = find(graph, marks.selected)
    const focus = find(graph, marks.focus)
    const index = (hit: Hit, kind: 'node' | 'edge') => (hit?.kind === kind ? hit.index : -1)
    paint({
      ctx, graph, view, size, palette,
      light: lightOf(graph, hover ?? selected, search(graph, marks.search)),
      hoverNode: index(hover, 'node'), hoverEdge: index(hover, 'edge'),
      selectedNode: index(selected, 'node'), selectedEdge: index(selected, 'edge'), focusNode: index(focus, 'node'),
    }, window.devicePixelRatio || 1)
    if (this.placed && !this.announced) performance.mark('map-painted')
    this.announced = this.placed
  }

  private stepGlide() {
    if (!this.glide) return
    const t = Math.min(1, (performance.now() - this.glide.start) / GLIDE_MS)
    this.view = between(this.glide.from, this.glide.to, 1 - (1 - t) ** 3)
    if (t >= 1) this.glide = null
    else this.redraw()
  }

  private settle() {
    clearTimeout(this.rest)
    this.rest = setTimeout(() => this.touched && this.events.moved(this.glide?.to ?? this.view, this.size), REST_MS)
  }

  private move(view: View) {
    this.touched = true
    this.glide = null
    this.view = view
    this.redraw()
    this.settle()
  }

  private point(event: MouseEvent): Point {
    const box = this.canvas.getBoundingClientRect()
    return { x: event.clientX - box.left, y: event.clientY - box.top }
  }

  private listen() {
    const on = <K extends keyof HTMLElementEventMap>(type: K, handle: (event: HTMLElementEventMap[K]) => void, passive = true) =>
      this.canvas.addEventListener(type, handle, { signal: this.off.signal, passive })
    on('pointerdown', (e) => this.down(e))
    on('pointermove', (e) => this.drag(e))
    on('pointerup', (e) => this.up(e))
    on('pointercancel', (e) => this.pointers.delete(e.pointerId))
    on('pointerleave', () => this.setHover(null, { x: 0, y: 0 }))
    on('dblclick', (e) => this.events.open(hitTest(this.graph, this.view, this.point(e))))
    on('wheel', (e) => this.wheel(e), false)
  }

  private wheel(event: WheelEvent) {
    event.preventDefault()
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1
    const factor = Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * (event.ctrlKey ? 0.01 : 0.0022))
    this.move(zoomAt(this.view, this.point(event), factor))
  }

  private down(event: PointerEvent) {
    if (event.button !== 0) return
    this.canvas.setPointerCapture(event.pointerId)
    this.pointers.set(event.pointerId, this.point(event))
    this.pressedAt = this.pointers.size === 1 ? this.point(event) : null
  }

  private drag(event: PointerEvent) {
    const at = this.point(event)
    const last = this.pointers.get(event.pointerId)
    if (!last) return this.setHover(hitTest(this.graph, this.view, at), at)
    if (this.pressedAt && Math.hypot(at.x - this.pressedAt.x, at.y - this.pressedAt.y) < CLICK_SLACK) return
    this.pressedAt = null
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1]
    this.pointers.set(event.pointerId, at)
    let view = { ...this.view, x: this.view.x + (at.x - last.x) / this.pointers.size, y: this.view.y + (at.y - last.y) / this.pointers.size }
    if (other) {
      const middle = { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 }
      view = zoomAt(view, middle, Math.hypot(at.x - other.x, at.y - other.y) / Math.max(1, Math.hypot(last.x - other.x, last.y - other.y)))
    }
    this.move(view)
  }

  private up(event: PointerEvent) {
    this.pointers.delete(event.pointerId)
    if (this.pressedAt) this.events.choose(hitTest(this.graph, this.view, this.pressedAt))
    this.pressedAt = null
  }

  private setHover(hit: Hit, at: Point) {
    const same = hit?.kind === this.hover?.kind && hit?.index === this.hover?.index
    if (same) return
    this.hover = hit
    this.canvas.style.cursor = hit ? 'pointer' : 'grab'
    this.events.hover(hit, at)
    this.redraw()
  }
}
