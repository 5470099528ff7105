import { useComputedColorScheme } from '@mantine/core'
import { forwardRef, useEffect, useImperativeHandle, useRef, useState } from 'react'
import type { Graph } from './graph.ts'
import type { Hit } from './hit.ts'
import { HoverCard } from './HoverCard.tsx'
import styles from './MapCanvas.module.css'
import { readPalette } from './palette.ts'
import { Scene } from './Scene.ts'
import { KEYS_HELP, useMapKeys } from './useMapKeys.ts'
import { describeNode } from './words.ts'
import { parseView, type Point, printView } from './view.ts'

export interface MapControls {
  fit: () => void
  zoom: (factor: number) => void
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

export const MapCanvas = forwardRef<MapControls, Props>(function MapCanvas(props, ref) {
  const { graph, selected, search } = props
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const scene = useRef<Scene | null>(null)
  const latest = useRef(props)
  latest.current = props
  const [hover, setHover] = useState<{ hit: NonNullable<Hit>; at: Point } | null>(null)
  const { focus, focused, onKeyDown, onBlur } = useMapKeys({ graph, scene, selected, onSelect: props.onSelect, onOpen: props.onOpen })
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
  }), [])

  return (
    <div ref={box} className={styles.box} role="application" aria-label="Service map" aria-describedby="map-help" tabIndex={0}
      onKeyDown={onKeyDown} onBlur={onBlur}>
      <canvas ref={canvas} className={styles.canvas} aria-hidden="true" data-testid="map-canvas" />
      <p id="map-help" className="sr-only">{KEYS_HELP}</p>
      <p className="sr-only" aria-live="polite">{focused ? describeNode(graph, focused) : ''}</p>
      {hover && <HoverCard graph={graph} hit={hover.hit} at={hover.at} width={box.current?.clientWidth ?? 0} />}
    </div>
  )
})
