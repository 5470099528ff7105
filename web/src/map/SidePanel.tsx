import { useEffect } from 'react'
import type { MapEdge, MapNode, ServiceMap } from '../api/types.ts'
import { IconButton } from '../ui/IconButton.tsx'
import { isTyping } from '../ui/useSlashFocus.ts'
import { EdgePanel } from './EdgePanel.tsx'
import type { Graph } from './graph.ts'
import { GroupPanel } from './GroupPanel.tsx'
import { find } from './light.ts'
import { NodePanel } from './NodePanel.tsx'
import styles from './SidePanel.module.css'
import type { MapState } from './useMapState.ts'

interface Props {
  map: Pick<ServiceMap, 'nodes' | 'edges'>
  graph: Graph
  state: MapState
}

/** The figures of what is chosen, over the right edge of the map, so that the map itself does not move. */
export function SidePanel({ map, graph, state }: Props) {
  const close = () => state.choose(null, null)
  const isOpen = state.node !== null || state.edge !== null
  useEffect(() => {
    if (!isOpen) return
    const onKey = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && !isTyping(event.target)) close()
    }
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  })
  const body = isOpen ? contentOf(map, graph, state) : null
  if (body === null) return null
  return (
    <aside className={styles.panel} aria-label="Details">
      <div className={styles.close}><IconButton icon="close" label="Close (Esc)" onClick={close} /></div>
      {body}
    </aside>
  )
}

function contentOf(map: Props['map'], graph: Graph, state: MapState) {
  if (map.nodes.length === 0) return null
  if (state.edge !== null) {
    const hit = find(graph, state.edge)
    const parts: MapEdge[] = hit?.kind === 'edge' ? graph.edges[hit.index]!.parts : map.edges.filter((e) => e.id === state.edge)
    return parts.length > 0 ? <EdgePanel parts={parts} state={state} /> : <Gone />
  }
  const node: MapNode | undefined = map.nodes.find((n) => n.id === state.node)
  if (node) return <NodePanel node={node} map={map} state={state} />
  const group = graph.nodes.find((n) => n.id === state.node && n.members.length > 0)
  return group ? <GroupPanel group={group} state={state} /> : <Gone />
}

function Gone() {
  return <p className={styles.gone}>Not seen in this time range. Take a longer one.</p>
}
