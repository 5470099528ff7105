import { Button, SegmentedControl, TextInput, Tooltip } from '@mantine/core'
import { useMemo } from 'react'
import type { ServiceMap } from '../api/types.ts'
import type { Liveness } from '../api/useMap.ts'
import { Icon } from '../ui/Icon.tsx'
import { IconButton } from '../ui/IconButton.tsx'
import { useSlashFocus } from '../ui/useSlashFocus.ts'
import styles from './MapToolbar.module.css'
import type { MapState } from './useMapState.ts'
import { counted } from './words.ts'

interface Props {
  map: Pick<ServiceMap, 'nodes' | 'edges'>
  state: MapState
  liveness: Liveness
  /** Enter in the search field. */
  onFind: () => void
}

export function MapToolbar({ map, state, liveness, onFind }: Props) {
  const search = useSlashFocus()
  const namespaces = useMemo(() => new Set(map.nodes.map((n) => n.namespace).filter(Boolean)), [map])
  return (
    <div className={styles.bar}>
      <SegmentedControl aria-label="Show as" value={state.show} onChange={(v) => state.setShow(v as 'map' | 'list')}
        data={[{ value: 'map', label: 'Map' }, { value: 'list', label: 'List' }]} />
      <form role="search" onSubmit={(event) => {
        event.preventDefault()
        onFind()
      }}>
        <TextInput ref={search} type="search" aria-label="Search the map" placeholder="Search  ( / )" w={220} leftSection={<Icon name="search" />}
          value={state.search} onChange={(event) => state.setSearch(event.currentTarget.value)} />
      </form>
      {(namespaces.size > 0 || state.grouping.on) && (
        <Button variant={state.grouping.on ? 'light' : 'default'} aria-pressed={state.grouping.on} leftSection={<Icon name="group" />}
          onClick={() => state.setGrouping(!state.grouping.on)}>By namespace</Button>
      )}
      {state.grouping.on && [...state.grouping.open].map((ns) => (
        <Button key={ns} variant="default" rightSection={<Icon name="close" size={11} />} aria-label={`Fold ${ns}`} onClick={() => state.unfold(ns, false)}>{ns}</Button>
      ))}
      <LiveMark liveness={liveness} />
      <span className={`${styles.count} num`}>{counted(map.nodes.length, 'workload')}, {counted(map.edges.length, 'edge')}</span>
    </div>
  )
}

const LIVE: Record<Liveness, [string, string]> = {
  live: ['live', 'The server sends every change'],
  polling: ['polling', 'No stream from the server; the map is fetched again at the refresh interval'],
  still: ['still', 'This range does not move, or the refresh is off'],
}

function LiveMark({ liveness }: { liveness: Liveness }) {
  const [word, why] = LIVE[liveness]
  return <Tooltip label={why}><span className={styles.live} data-live={liveness}>{word}</span></Tooltip>
}

export function ZoomButtons({ zoom, fit }: { zoom: (factor: number) => void; fit: () => void }) {
  return (
    <div className={styles.zoom} role="group" aria-label="Zoom">
      <IconButton icon="plus" label="Zoom in (+)" onClick={() => zoom(1.4)} />
      <IconButton icon="minus" label="Zoom out (-)" onClick={() => zoom(1 / 1.4)} />
      <IconButton icon="fit" label="Fit all (F)" onClick={fit} />
    </div>
  )
}
