import { Skeleton } from '@mantine/core'
import { useMemo } from 'react'
import { useClusters, useNamespace, useWorkloads } from '../api/hooks.ts'
import type { NamespaceDetail } from '../api/types.ts'
import { bytes, cores, percent, rate } from '../format/number.ts'
import { counted } from '../map/words.ts'
import { WorkloadTable } from '../overview/WorkloadTable.tsx'
import { HealthMark } from '../ui/Health.tsx'
import { inSpace, splitCluster, splitId } from '../ui/ids.ts'
import { Panel } from '../ui/Panel.tsx'
import { Reasons } from '../ui/Reasons.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { Link } from '../url/Link.tsx'
import { useUrlState } from '../url/location.ts'
import { Facts } from './Facts.tsx'
import { Happened, useHappened } from './Happened.tsx'
import styles from './inventory.module.css'
import { Pods } from './Pods.tsx'
import { Trail } from './Trail.tsx'
import { UsageCharts } from './UsageCharts.tsx'

export default function NamespacePage() {
  const { params } = useUrlState()
  const id = params.get('id') ?? ''
  const { text: name, cluster: away } = splitCluster(id)
  useTitle(name || 'Namespace')
  const { data, error, isPending, refetch } = useNamespace(id)
  const clusters = useClusters()
  if (id === '') return <Empty title="No namespace chosen"><p>Choose one of <Link to="/namespaces">all namespaces</Link>.</p></Empty>
  const cluster = away || clusters.home
  const shown = inSpace({ cluster: away, namespace: name }, clusters)
  return (
    <div className={styles.page}>
      <header className={styles.head}>
        <Trail steps={[...(clusters.all.length > 1 ? [{ name: cluster }] : []), { name: 'Namespaces', to: '/namespaces' }, { name }]} />
        <div className={styles.title}>
          {data && <HealthMark health={data.namespace.health} size={16} />}
          <h1>{name}</h1>
          <span className="muted">Namespace</span>
          {data?.namespace.phase === 'Terminating' && <span className={styles.badge} data-bad>Terminating</span>}
        </div>
        <nav className={styles.links} aria-label="More about this namespace">
          <Link to="/map" with={{ group: 'namespace', open: shown }}>Show on the map</Link>
          <Link to="/events" with={{ namespace: name }}>Events</Link>
        </nav>
        {data && <NamespaceFacts data={data} />}
        {data && <Reasons reasons={data.namespace.reasons} health={data.namespace.health} />}
      </header>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {isPending && !error && <div role="status" aria-label="Loading"><Skeleton height={230} /></div>}
      {data && <Content key={id} data={data} cluster={cluster} away={away} />}
    </div>
  )
}

function NamespaceFacts({ data: { namespace: n } }: { data: NamespaceDetail }) {
  return (
    <Facts facts={[
      { name: 'Workloads', value: n.workloads },
      { name: 'Pods', value: n.troubled > 0 ? `${n.pods}, ${n.troubled} in trouble` : n.pods, bad: n.troubled > 0 },
      { name: 'Restarts', value: n.restarted, bad: n.restarted > 0, title: 'of containers in the time range' },
      { name: 'Requests', value: rate(n.rate) },
      { name: 'Errors', value: percent(n.errorShare), bad: (n.errorShare ?? 0) >= 0.01 },
      { name: 'Cores used', value: cores(n.cpu.used) },
      { name: 'Cores requested', value: cores(n.cpu.requests) },
      { name: 'Memory used', value: bytes(n.memory.used) },
      { name: 'Memory requested', value: bytes(n.memory.requests) },
    ]} />
  )
}

const GIVEN = ['namespace'] as const
// Their sum is of those that have one; without the others it bounds nothing.
const LEAVE = ['cpuLimits', 'memoryLimits'] as const

function Content({ data, cluster, away }: { data: NamespaceDetail; cluster: string; away: string }) {
  const { name } = data.namespace
  const { events, marks } = useHappened(useMemo(() => ({ cluster, namespace: name }), [cluster, name]))
  const workloads = useWorkloads()
  const own = useMemo(() => workloads.data?.workloads.filter((w) => {
    const who = splitId(w.id)
    return who.namespace === name && who.cluster === away
  }) ?? [], [workloads.data, name, away])
  const filter = useMemo(() => ({ cluster, namespace: name }), [cluster, name])
  return (
    <>
      <UsageCharts charts={data.charts} marks={marks} leave={LEAVE} />
      <Panel title="Workloads" aside={<span className="num">{counted(own.length, 'workload')}</span>} flush>
        {own.length > 0 ? <WorkloadTable workloads={own} height={`${Math.min(own.length, 10) * 34 + 30}px`} /> : <p className={styles.none}>None of its workloads had traffic in this time range.</p>}
      </Panel>
      <Pods filter={filter} given={GIVEN} />
      <Happened events={events} link={{ namespace: name }} />
    </>
  )
}
