import { useComputedColorScheme } from '@mantine/core'
import { forwardRef, type KeyboardEvent, useEffect, useImperativeHandle, useRef, useState } from 'react'
import type { Graph } from './graph.ts'
import type { Hit } from './hit.ts'
import { HoverCard } from './HoverCard.tsx'
import { type Direction, nodeTowards, startNode } from './keyboard.ts'
import styles from './MapCanvas.module.css'
import { readPalette } from './palette.ts'
import { Scene } from './Scene.ts'
import { describeNode } from './words.ts'
import { parseView, type Point, printView } from './view.ts'

export interface MapControls {
  fit: () => void
  zoom: (factor: number) => void
  /** Brings a node into sight and near. */
  show: (id: string) => void
  focus: () => void
}

interface Props {
  graph: Graph
  selected: string | null
  search: string
  /** The view in the URL when the page was opened. */
  startView: string | null
  onSelect: (hit: Hit) => void
  /** Enter or a double click on a folded namespace. */
  onOpen: (hit: Hit) => void
  onView: (view: string) => void
}

const HELP = 'Arrow keys move between workloads, Enter opens one, Escape closes, plus and minus zoom, F fits all, slash searches. The list view holds the same figures as a table.'

export const MapCanvas = forwardRef<MapControls, Props>(function MapCanvas(props, ref) {
  const { graph, selected, search } = props
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const scene = useRef<Scene | null>(null)
  const latest = useRef(props)
  latest.current = props
  const [focus, setFocus] = useState<string | null>(null)
  const [hover, setHover] = useState<{ hit: NonNullable<Hit>; at: Point } | null>(null)
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false })

  useEffect(() => {
    const made = new Scene(canvas.current!, readPalette(), {
      choose: (hit) => latest.current.onSelect(hit),
      open: (hit) => hit && latest.current.onOpen(hit),
      hover: (hit, at) => setHover(hit && { hit, at }),
      moved: (view, size) => latest.current.onView(printView(view, size)),
    })
    scene.current = made
    const resize = () => {
      const { clientWidth: width, clientHeight: height } = box.current!
      made.resize({ width, height })
    }
    resize()
    const observer = new ResizeObserver(resize)
    observer.observe(box.current!)
    return () => {
      observer.disconnect()
      made.destroy()
    }
  }, [])
  useEffect(() => scene.current?.setGraph(graph, (size) => parseView(latest.current.startView, size)), [graph])
  useEffect(() => scene.current?.setMarks({ selected, focus, search }), [selected, focus, search])
  useEffect(() => scene.current?.setPalette(readPalette()), [scheme])
  useImperativeHandle(ref, () => ({
    fit: () => scene.current?.fit(),
    zoom: (factor) => scene.current?.zoom(factor),
    show: (id) => scene.current?.show(id, true),
    focus: () => box.current?.focus(),
  }), [])

  const focused = focus === null ? undefined : graph.nodes[graph.byId.get(focus) ?? -1]
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    if (!handleKey(event.key)) return
    event.preventDefault()
    event.stopPropagation()
  }
  const handleKey = (key: string): boolean => {
    if (key.startsWith('Arrow')) {
      const next = focused ? nodeTowards(graph.nodes, focused, key as Direction) : (graph.nodes[graph.byId.get(selected ?? '') ?? -1] ?? startNode(graph.nodes))
      if (next) {
        setFocus(next.id)
        scene.current?.show(next.id)
      }
      return true
    }
    switch (key) {
      case 'Enter': case ' ':
        if (focused) {
          const hit = { kind: 'node', index: graph.byId.get(focused.id)! } as const
          if (focused.members.length > 0) props.onOpen(hit)
          else props.onSelect(hit)
        }
        return true
      case 'Escape':
        props.onSelect(null)
        return true
      case '+': case '=': scene.current?.zoom(1.4); return true
      case '-': scene.current?.zoom(1 / 1.4); return true
      case 'f': case 'F': case '0': scene.current?.fit(); return true
    }
    return false
  }

  return (
    <div ref={box} className={styles.box} role="application" aria-label="Service map" aria-describedby="map-help" tabIndex={0}
      onKeyDown={onKeyDown} onBlur={() => setFocus(null)}>
      <canvas ref={canvas} className={styles.canvas} aria-hidden="true" data-testid="map-canvas" />
      <p id="map-help" className="sr-only">{HELP}</p>
      <p className="sr-only" aria-live="polite">{focused ? describeNode(graph, focused) : ''}</p>
      {hover && <HoverCard graph={graph} hit={hover.hit} at={hover.at} width={box.current?.clientWidth ?? 0} />}
    </div>
  )
})
