import type { MapEdge } from '../api/types.ts'
import { byteRate, duration, rate } from '../format/number.ts'
import { edgeRateQuery } from '../query/links.ts'
import { HealthMark } from '../ui/Health.tsx'
import { Reasons } from '../ui/Reasons.tsx'
import { splitId } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import { Figure, SignalFigures } from './SignalFigures.tsx'
import styles from './SidePanel.module.css'
import type { MapState } from './useMapState.ts'

/** All that is drawn as one line, one part after the other: the busiest first. */
export function EdgePanel({ parts, state }: { parts: readonly MapEdge[]; state: MapState }) {
  const sorted = [...parts].sort((a, b) => (b.signals.rate ?? -1) - (a.signals.rate ?? -1))
  const shown = sorted.slice(0, 20)
  return (
    <>
      {parts.length > 1 && <header className={styles.head}><h2>{parts.length} edges as one line</h2></header>}
      {shown.map((edge) => <Part key={edge.id} edge={edge} state={state} />)}
      {sorted.length > shown.length && <p className="muted">{sorted.length - shown.length} more are in the list view.</p>}
    </>
  )
}

function Part({ edge, state }: { edge: MapEdge; state: MapState }) {
  const failed = Object.entries(edge.failedConnects ?? {}).filter(([, r]) => r > 0)
  return (
    <section className={styles.part}>
      <header className={styles.head}>
        <h2>
          <HealthMark health={edge.health} size={14} />
          <button type="button" onClick={() => state.choose(edge.client, null)}>{splitId(edge.client).name}</button>
          <span aria-label="to">→</span>
          <button type="button" onClick={() => state.choose(edge.server, null)}>{splitId(edge.server).name}</button>
        </h2>
        <p className="muted">{edge.protocol} on port <span className="num">{edge.port}</span></p>
      </header>
      <Reasons reasons={edge.reasons ?? []} health={edge.health} />
      {edge.signals.rate !== null && <SignalFigures signals={edge.signals} />}
      <dl className={styles.figures}>
        <Figure name="Connects" value={rate(edge.connectRate)} />
        <Figure name="Failed" value={rate(edge.failedConnectRate)} bad={(edge.failedConnectRate ?? 0) > 0} />
        <Figure name="RTT" value={duration(edge.rtt)} />
        <Figure name="Sent" value={byteRate(edge.bytesSentRate)} />
        <Figure name="Received" value={byteRate(edge.bytesReceivedRate)} />
        <Figure name="Retransmits" value={rate(edge.retransmitRate)} />
        {failed.map(([error, r]) => <Figure key={error} name={error.replace('_', ' ')} value={rate(r)} bad />)}
      </dl>
      <nav className={styles.links} aria-label="More about this edge">
        <Link to="/workload" with={{ id: edge.server }}>Open {splitId(edge.server).name}</Link>
        <Link to="/query" with={{ q: edgeRateQuery(edge) }}>Query</Link>
      </nav>
    </section>
  )
}
