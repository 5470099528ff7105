import { NativeSelect, Skeleton } from '@mantine/core'
import { useMemo } from 'react'
import { useClusters, usePod } from '../api/hooks.ts'
import type { Container, PodDetail } from '../api/types.ts'
import type { Mark } from '../chart/options.ts'
import { age, bytes, cores } from '../format/number.ts'
import { stamp } from '../time/clock.ts'
import { type Column, DataTable } from '../ui/DataTable.tsx'
import { HealthMark } from '../ui/Health.tsx'
import { splitCluster, splitId } from '../ui/ids.ts'
import { Panel } from '../ui/Panel.tsx'
import { Reasons } from '../ui/Reasons.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { Link } from '../url/Link.tsx'
import { useUrlState } from '../url/location.ts'
import { Facts } from './Facts.tsx'
import { Happened, useHappened } from './Happened.tsx'
import styles from './inventory.module.css'
import { Trail, useSpaceSteps } from './Trail.tsx'
import { UsageCharts } from './UsageCharts.tsx'
import { UseCell } from './UseCell.tsx'

export default function PodPage() {
  const { params } = useUrlState()
  const id = params.get('id') ?? ''
  const [namespace = '', name = ''] = splitCluster(id).text.split('/')
  useTitle(name || 'Pod')
  const { data, error, isPending, refetch } = usePod(id)
  const { home } = useClusters()
  const cluster = splitCluster(id).cluster || home
  const space = useSpaceSteps(cluster, namespace)
  if (id === '') return <Empty title="No pod chosen"><p>Choose one of <Link to="/pods">all pods</Link>.</p></Empty>
  const owner = data ? splitId(data.pod.workload) : null
  return (
    <div className={styles.page}>
      <header className={styles.head}>
        <Trail steps={[...space, ...(owner && owner.kind !== 'Pod' ? [{ name: owner.name, to: '/workload', with: { id: data!.pod.workload } }] : []), { name }]} />
        <div className={styles.title}>
          {data && <HealthMark health={data.pod.health} size={16} />}
          <h1>{name}</h1>
          <span className="muted">Pod in {namespace}</span>
          {data?.gone && <span className={styles.badge} data-bad>gone</span>}
        </div>
        <nav className={styles.links} aria-label="More about this pod">
          {data && <Link to="/map" with={{ node: data.pod.workload }}>Show on the map</Link>}
          {data?.pod.node && <Link to="/node" with={{ id: data.pod.nodeId }}>Node {data.pod.node}</Link>}
        </nav>
        {data && <PodFacts data={data} />}
        {data && <Reasons reasons={data.pod.reasons} health={data.pod.health} />}
      </header>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {isPending && !error && <div role="status" aria-label="Loading"><Skeleton height={230} /></div>}
      {data && <Content key={id} data={data} cluster={cluster} />}
    </div>
  )
}

function PodFacts({ data: { pod, end } }: { data: PodDetail }) {
  return (
    <Facts facts={[
      { name: 'Status', value: pod.status || '–', bad: pod.health === 'critical' },
      { name: 'Ready', value: pod.containers > 0 ? `${pod.ready} of ${pod.containers}` : '–' },
      { name: 'Restarts', value: pod.restarted > 0 ? `${pod.restarts} (+${pod.restarted})` : pod.restarts, bad: pod.restarted > 0, title: 'ever, and in the time range' },
      ...(pod.lastEnd ? [{ name: 'Last ended', value: pod.lastEnd }] : []),
      { name: 'Age', value: age(pod.created, Date.parse(end) / 1000), title: pod.created ?? '' },
      { name: 'Node', value: pod.node ? <Link to="/node" with={{ id: pod.nodeId }}>{pod.node}</Link> : 'none yet' },
      { name: 'Workload', value: <Link to="/workload" with={{ id: pod.workload }}>{splitId(pod.workload).name}</Link>, title: pod.workload },
      ...(pod.ip ? [{ name: pod.hostNetwork ? 'Address (of the node)' : 'Address', value: pod.ip }] : []),
    ]} />
  )
}

function Content({ data, cluster }: { data: PodDetail; cluster: string }) {
  const { namespace, name } = data.pod
  const { events, marks } = useHappened(useMemo(() => ({ cluster, kind: 'Pod', namespace, name }), [cluster, namespace, name]))
  return (
    <>
      <PodCharts data={data} marks={marks} />
      <Panel title="Containers" flush>
        {data.containers.length > 0 ? <DataTable label="Containers" columns={COLUMNS} rows={data.containers} rowKey={(c) => c.name} sortParam="containers" rowHeight={32} minWidth="62rem" />
          : <p className={styles.none}>Nothing is known of its containers.</p>}
      </Panel>
      <Happened events={events} link={{ kind: 'Pod', name, namespace }} />
    </>
  )
}

/** The charts of the pod, or of one of its containers. */
function PodCharts({ data, marks }: { data: PodDetail; marks: readonly Mark[] }) {
  const { params, set } = useUrlState()
  const { cpu, memory } = data.pod
  const chosen = data.containers.find((c) => c.name === params.get('container'))
  // A sum of limits that not all containers have bounds nothing.
  const leave = useMemo(() => [...(cpu.limits === null ? ['cpuLimits'] : []), ...(memory.limits === null ? ['memoryLimits'] : [])], [cpu.limits, memory.limits])
  return (
    <>
      {data.containers.length > 1 && (
        <NativeSelect className={styles.choice} aria-label="Charts of" value={chosen?.name ?? ''} onChange={(event) => set({ container: event.currentTarget.value || null })}
          data={[{ value: '', label: `All ${data.containers.length} containers` }, ...data.containers.map((c) => c.name)]} />
      )}
      {chosen ? <UsageCharts charts={chosen.charts} marks={marks} /> : <UsageCharts charts={data.charts} marks={marks} leave={leave} />}
    </>
  )
}

const COLUMNS: readonly Column<Container>[] = [
  { id: 'container', header: 'Container', width: '12%', value: (c) => c.name, cell: (c) => <b title={c.name}>{c.name}</b> },
  { id: 'image', header: 'Image', value: (c) => c.image, cell: (c) => <span title={c.image}>{c.image}</span> },
  {
    id: 'state', header: 'State', width: '17%', value: (c) => c.state,
    cell: (c) => <span className={c.state === 'running' && c.ready ? undefined : styles.bad}>{[c.state, c.reason].filter(Boolean).join(': ')}{c.state === 'running' && !c.ready && ', not ready'}</span>,
  },
  { id: 'restarts', header: 'Restarts', numeric: true, width: '5rem', value: (c) => c.restarts, cell: (c) => c.restarts },
  {
    id: 'last', header: 'Last ended', width: '11rem', value: (c) => c.lastEnd,
    cell: (c) => (c.lastEnd ? <span title={c.lastEnded ? stamp(Date.parse(c.lastEnded) / 1000) : undefined}>{c.lastEnd}{c.lastCode !== null && `, code ${c.lastCode}`}</span> : <span className="muted">–</span>),
  },
  { id: 'cpu', header: 'Processor', numeric: true, width: '12.75rem', value: (c) => c.cpu.used, cell: (c) => <UseCell resource={c.cpu} of="pod" format={cores} /> },
  { id: 'memory', header: 'Memory', numeric: true, width: '12.75rem', value: (c) => c.memory.used, cell: (c) => <UseCell resource={c.memory} of="pod" format={bytes} /> },
]
