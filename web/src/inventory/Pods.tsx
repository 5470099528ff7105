import type { PodFilter } from '../api/client.ts'
import { usePods } from '../api/hooks.ts'
import { counted } from '../map/words.ts'
import { Panel } from '../ui/Panel.tsx'
import { Failure } from '../ui/States.tsx'
import { type Given, PodTable } from './PodTable.tsx'
import styles from './inventory.module.css'

/** The pods of a workload, a node or a namespace. Where no watcher tells of pods, nothing but what to do for it. */
export function Pods({ filter, given, quiet = false }: { filter: PodFilter; given: readonly Given[]; quiet?: boolean }) {
  const { data, error, refetch } = usePods(filter)
  if (quiet && !error && (data?.total ?? 0) === 0) return null
  return (
    <Panel title="Pods" aside={data && <span className="num">{data.total > data.pods.length ? `${data.pods.length} of ${data.total} pods` : counted(data.total, 'pod')}</span>} flush>
      {error && <Failure error={error} retry={() => void refetch()} slim />}
      {data && data.pods.length > 0 && <PodTable pods={data.pods} given={given} end={data.end} />}
      {data?.pods.length === 0 && <p className={styles.none}>{data.known ? 'None at the end of this time range.' : 'No watcher tells of pods: see the page Pods for what to do.'}</p>}
    </Panel>
  )
}
