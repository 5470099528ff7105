import { Button } from '@mantine/core'
import { rate } from '../format/number.ts'
import { HEALTH_ORDER, HealthMark } from '../ui/Health.tsx'
import type { GraphNode } from './graph.ts'
import { Link } from '../url/Link.tsx'
import styles from './SidePanel.module.css'
import type { MapState } from './useMapState.ts'
import { counted, figuresInWords } from './words.ts'

/** A folded namespace: its workloads, the worst first. */
export function GroupPanel({ group, state }: { group: GraphNode; state: MapState }) {
  const sorted = [...group.members].sort(
    (a, b) => HEALTH_ORDER.indexOf(a.health) - HEALTH_ORDER.indexOf(b.health) || (b.signals.rate ?? -1) - (a.signals.rate ?? -1),
  )
  const first = group.members[0]?.id ?? ''
  const spaceId = first.slice(0, first.indexOf('/'))
  return (
    <>
      <header className={styles.head}>
        <h2><HealthMark health={group.health} size={14} /> {group.name}</h2>
        <p className="muted num">{counted(group.members.length, 'workload')}, {figuresInWords(group)}</p>
      </header>
      <Button variant="default" onClick={() => state.unfold(group.namespace, true)}>Unfold</Button>
      <nav className={styles.links} aria-label="More about this namespace">
        <Link to="/namespace" with={{ id: spaceId }}>Open namespace</Link>
      </nav>
      <section className={styles.ends}>
        <ul>
          {sorted.map((n) => (
            <li key={n.id}>
              <button type="button" title={n.id} onClick={() => state.choose(n.id, null)}>{n.name}</button>
              <span className={styles.plain}><HealthMark health={n.health} size={10} /><span className="num">{rate(n.signals.rate)}</span></span>
            </li>
          ))}
        </ul>
      </section>
    </>
  )
}
