import { type KeyboardEvent, type RefObject, useState } from 'react'
import type { Graph, GraphNode } from './graph.ts'
import type { Hit } from './hit.ts'
import { type Direction, nodeTowards, startNode } from './keyboard.ts'
import type { Scene } from './Scene.ts'

export const KEYS_HELP =
  'Arrow keys move between workloads, Enter opens one, Escape closes, plus and minus zoom, F fits all, slash searches. The list view holds the same figures as a table.'

interface Options {
  graph: Graph
  scene: RefObject<Scene | null>
  selected: string | null
  onSelect: (hit: Hit) => void
  onOpen: (hit: Hit) => void
}

/** The map by keyboard: which node the arrows are on, and what the keys do. */
export function useMapKeys({ graph, scene, selected, onSelect, onOpen }: Options) {
  const [focus, setFocus] = useState<string | null>(null)
  const nodeOf = (id: string | null): GraphNode | undefined => (id === null ? undefined : graph.nodes[graph.byId.get(id) ?? -1])
  const focused = nodeOf(focus)

  const move = (direction: Direction) => {
    const next = focused ? nodeTowards(graph.nodes, focused, direction) : (nodeOf(selected) ?? startNode(graph.nodes))
    if (!next) return
    setFocus(next.id)
    scene.current?.show(next.id)
  }
  const enter = () => {
    if (!focused) return
    const hit: Hit = { kind: 'node', index: graph.byId.get(focused.id)! }
    if (focused.members.length > 0) onOpen(hit)
    else onSelect(hit)
  }
  const actions: Record<string, () => void> = {
    ArrowLeft: () => move('ArrowLeft'), ArrowRight: () => move('ArrowRight'), ArrowUp: () => move('ArrowUp'), ArrowDown: () => move('ArrowDown'),
    Enter: enter, ' ': enter, Escape: () => onSelect(null),
    '+': () => scene.current?.zoom(1.4), '=': () => scene.current?.zoom(1.4), '-': () => scene.current?.zoom(1 / 1.4),
    f: () => scene.current?.fit(), F: () => scene.current?.fit(), '0': () => scene.current?.fit(),
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const action = actions[event.key]
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return
    action()
    event.preventDefault()
    event.stopPropagation()
  }
  return { focus, focused, onKeyDown, onBlur: () => setFocus(null) }
}
