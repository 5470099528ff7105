import { useMemo, useRef } from 'react'
import type { ServiceMap } from '../api/types.ts'
import { useMap } from '../api/useMap.ts'
import { Failure, NoTraffic } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { useUrlState } from '../url/location.ts'
import { EdgeList } from './EdgeList.tsx'
import { buildGraph } from './graph.ts'
import type { Hit } from './hit.ts'
import { Legend } from './Legend.tsx'
import { search as searchGraph } from './light.ts'
import { MapCanvas, type MapControls } from './MapCanvas.tsx'
import styles from './MapPage.module.css'
import { MapToolbar, ZoomButtons } from './MapToolbar.tsx'
import { SidePanel } from './SidePanel.tsx'
import { useMapState } from './useMapState.ts'

const NOTHING: Pick<ServiceMap, 'nodes' | 'edges'> = { nodes: [], edges: [] }

export default function MapPage() {
  useTitle('Service map')
  const { data, error, isPending, refetch, liveness } = useMap()
  const state = useMapState()
  const map = data ?? NOTHING
  const graph = useMemo(() => buildGraph(map, state.grouping), [map, state.grouping])
  const empty = data !== undefined && data.nodes.length === 0
  return (
    <div className={styles.page}>
      <h1 className="sr-only">Service map</h1>
      {state.show === 'list' && !empty ? <div className={styles.list} data-panel={state.node !== null || state.edge !== null}><EdgeList map={map} search={state.search} /></div>
        : <Drawing graph={graph} state={state} />}
      <div className={styles.top}>
        <MapToolbar map={map} state={state} liveness={liveness}
          onFind={() => {
            const first = [...(searchGraph(graph, state.search) ?? [])][0]
            if (first !== undefined) state.choose(graph.nodes[first]!.id, null)
          }} />
        {error && <Failure error={error} retry={() => void refetch()} slim />}
      </div>
      {empty && <div className={styles.middle}><NoTraffic /></div>}
      {isPending && !error && <p role="status" className={styles.middle}>Loading the map…</p>}
      <SidePanel map={map} graph={graph} state={state} />
    </div>
  )
}

function Drawing({ graph, state }: { graph: ReturnType<typeof buildGraph>; state: ReturnType<typeof useMapState> }) {
  const controls = useRef<MapControls>(null)
  const { params, set } = useUrlState()
  const startView = useRef(params.get('view'))
  const idOf = (hit: NonNullable<Hit>) => (hit.kind === 'node' ? graph.nodes[hit.index]! : graph.edges[hit.index]!).id
  const select = (hit: Hit) => {
    if (!hit) state.choose(null, null)
    else if (hit.kind === 'node') state.choose(idOf(hit), null)
    else state.choose(null, idOf(hit))
  }
  const open = (hit: Hit) => {
    const node = hit?.kind === 'node' ? graph.nodes[hit.index] : undefined
    if (node && node.members.length > 0) state.unfold(node.namespace, true)
  }
  return (
    <>
      <MapCanvas ref={controls} graph={graph} selected={state.node ?? state.edge} search={state.search} startView={startView.current}
        onSelect={select} onOpen={open} onView={(view) => set({ view }, { replace: true })} />
      <Legend />
      <ZoomButtons zoom={(factor) => controls.current?.zoom(factor)} fit={() => {
        controls.current?.fit()
        set({ view: null }, { replace: true })
      }} />
    </>
  )
}
