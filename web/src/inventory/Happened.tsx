import { useMemo } from 'react'
import type { EventFilter } from '../api/client.ts'
import { useEvents } from '../api/hooks.ts'
import type { EventItem } from '../api/types.ts'
import type { Mark } from '../chart/options.ts'
import { EventTable } from '../events/EventTable.tsx'
import { keyOf, lastSeconds, marksOf, merged } from '../events/events.ts'
import { counted } from '../map/words.ts'
import { Panel } from '../ui/Panel.tsx'
import { Link } from '../url/Link.tsx'

/** The events of one thing: those that two filters choose, once each, the last first. `link` is the page of all of them. */
export function useHappened(filter: EventFilter, also: EventFilter | null = null): { events: EventItem[]; marks: Mark[] } {
  const one = useEvents(filter)
  const two = useEvents(also ?? filter)
  return useMemo(() => {
    const all = new Map([...merged(one.data), ...merged(two.data)].map((e) => [keyOf(e), e]))
    const events = [...all.values()].sort((a, b) => lastSeconds(b) - lastSeconds(a))
    return { events, marks: marksOf(events) }
  }, [one.data, two.data])
}

export function Happened({ events, link }: { events: readonly EventItem[]; link: Record<string, string> }) {
  if (events.length === 0) return null
  return (
    <Panel title="Events" aside={<Link to="/events" with={link}>{counted(events.length, 'event')}</Link>} flush>
      <EventTable events={events} ofOne />
    </Panel>
  )
}
