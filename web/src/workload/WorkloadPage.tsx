import { Skeleton } from '@mantine/core'
import { useMemo } from 'react'
import { useClusters, useEvents, useWorkload } from '../api/hooks.ts'
import type { WorkloadDetail } from '../api/types.ts'
import { EventTable } from '../events/EventTable.tsx'
import { marksOf, merged } from '../events/events.ts'
import { counted } from '../map/words.ts'
import { Pods } from '../inventory/Pods.tsx'
import { Trail, useSpaceSteps } from '../inventory/Trail.tsx'
import { requestRateQuery } from '../query/links.ts'
import { EdgeTable } from '../ui/EdgeTable.tsx'
import { HealthMark } from '../ui/Health.tsx'
import { Panel } from '../ui/Panel.tsx'
import { Reasons } from '../ui/Reasons.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { inSpace, splitId } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import { useUrlState } from '../url/location.ts'
import { RouteTable } from './RouteTable.tsx'
import { SignalStrip } from './SignalStrip.tsx'
import { TLSTable } from './TLSTable.tsx'
import { WorkloadCharts } from './WorkloadCharts.tsx'
import styles from './WorkloadPage.module.css'

export default function WorkloadPage() {
  const { params } = useUrlState()
  const id = params.get('id') ?? ''
  const { name } = splitId(id)
  useTitle(name || 'Workload')
  const { data, error, isPending, refetch } = useWorkload(id)
  if (id === '') return <Empty title="No workload chosen"><p>Choose one on the <Link to="/">overview</Link> or the <Link to="/map">map</Link>.</p></Empty>
  return (
    <div className={styles.page}>
      <Head id={id} data={data} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      {isPending && !error && <Placeholder />}
      {data && <Content data={data} />}
    </div>
  )
}

function Head({ id, data }: { id: string; data: WorkloadDetail | undefined }) {
  const who = splitId(id)
  const clusters = useClusters()
  const space = inSpace(who, clusters)
  const steps = useSpaceSteps(who.cluster || clusters.home, who.namespace)
  return (
    <header className={styles.head}>
      {steps.length > 0 && <Trail steps={[...steps, { name: who.name }]} />}
      <div className={styles.title}>
        {data && <HealthMark health={data.workload.health} size={16} />}
        <h1>{who.name}</h1>
        <span className="muted">{space ? `${who.kind} in ${space}` : who.kind}</span>
      </div>
      <nav className={styles.links} aria-label="More about this workload">
        <Link to="/map" with={{ node: id }}>Show on the map</Link>
        <Link to="/query" with={{ q: requestRateQuery(who) }}>Query</Link>
      </nav>
      {data && <SignalStrip signals={data.workload.signals} />}
      {data && data.workload.reasons.length > 0 && <Reasons reasons={data.workload.reasons} health={data.workload.health} />}
    </header>
  )
}

function Content({ data }: { data: WorkloadDetail }) {
  const events = useEvents(useMemo(() => ({ workload: data.workload.id }), [data.workload.id]))
  const happened = useMemo(() => merged(events.data), [events.data])
  const marks = useMemo(() => marksOf(happened), [happened])
  const pods = useMemo(() => ({ workload: data.workload.id }), [data.workload.id])
  return (
    <>
      <WorkloadCharts data={data} marks={marks} />
      {happened.length > 0 && (
        <Panel title="Events" aside={<Link to="/events" with={{ workload: data.workload.id }}>{counted(happened.length, 'event')}</Link>} flush>
          <EventTable events={happened} ofOne />
        </Panel>
      )}
      {isInCluster(data) && <Pods filter={pods} given={GIVEN} />}
      <Panel title="Routes" aside={count(data.routes.length, 'route')} flush>
        {data.routes.length > 0 ? <RouteTable routes={data.routes} who={splitId(data.workload.id)} />
          : <p className={styles.none}>{withoutRoutes(data)}</p>}
      </Panel>
      <Panel title="Callers" aside={count(data.callers.length, 'edge')} flush>
        {data.callers.length > 0 ? <EdgeTable label="Callers" edges={data.callers} show="client" sortParam="callers" />
          : <p className={styles.none}>Nobody called it in this time range.</p>}
      </Panel>
      <Panel title="Callees" aside={count(data.callees.length, 'edge')} flush>
        {data.callees.length > 0 ? <EdgeTable label="Callees" edges={data.callees} show="server" sortParam="callees" />
          : <p className={styles.none}>It called nobody in this time range.</p>}
      </Panel>
      {data.tls.length > 0 && (
        <Panel title="TLS" aside={count(data.tls.length, 'kind')} flush><TLSTable connections={data.tls} /></Panel>
      )}
    </>
  )
}

const GIVEN = ['namespace', 'workload'] as const

/** What is in a namespace has pods. */
const isInCluster = ({ workload }: WorkloadDetail) => splitId(workload.id).namespace !== ''

const withoutRoutes = ({ workload }: WorkloadDetail) => (workload.signals.rate
  ? 'Its requests are counted where its callers send them. Which routes they ask for is known where its own end is seen too.'
  : 'No requests to this workload in this time range. It may only call others, or speak a protocol that is counted in bytes.')

const count = (n: number, what: string) => <span className="num">{counted(n, what)}</span>

function Placeholder() {
  return (
    <div role="status" aria-label="Loading">
      <Skeleton height={40} mb="sm" />
      <div className={styles.three}>{[0, 1, 2].map((i) => <Skeleton key={i} height={238} />)}</div>
      <Skeleton height={280} mt="sm" />
    </div>
  )
}
