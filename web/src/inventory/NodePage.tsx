import { Skeleton } from '@mantine/core'
import { useMemo } from 'react'
import { useClusters, useNode } from '../api/hooks.ts'
import type { InventoryNode, NodeDetail } from '../api/types.ts'
import { marksOf } from '../events/events.ts'
import { bytes, cores, duration, percent, UNKNOWN } from '../format/number.ts'
import { HealthMark } from '../ui/Health.tsx'
import { splitCluster } from '../ui/ids.ts'
import { Reasons } from '../ui/Reasons.tsx'
import { Empty, Failure } from '../ui/States.tsx'
import { useTitle } from '../ui/useTitle.ts'
import { Link } from '../url/Link.tsx'
import { useUrlState } from '../url/location.ts'
import { type Fact, Facts } from './Facts.tsx'
import { Happened, useHappened } from './Happened.tsx'
import styles from './inventory.module.css'
import { Pods } from './Pods.tsx'
import { shareOf } from './resources.ts'
import { Trail } from './Trail.tsx'
import { UsageCharts } from './UsageCharts.tsx'

export default function NodePage() {
  const { params } = useUrlState()
  const id = params.get('id') ?? ''
  const name = splitCluster(id).text
  useTitle(name || 'Node')
  const { data, error, isPending, refetch } = useNode(id)
  const clusters = useClusters()
  if (id === '') return <Empty title="No node chosen"><p>Choose one of <Link to="/nodes">all nodes</Link>.</p></Empty>
  const cluster = splitCluster(id).cluster || clusters.home
  return (
    <div className={styles.page}>
      <header className={styles.head}>
        <Trail steps={[...(clusters.all.length > 1 ? [{ name: cluster }] : []), { name: 'Nodes', to: '/nodes' }, { name }]} />
        <div className={styles.title}>
          {data && <HealthMark health={data.node.health} size={16} />}
          <h1>{name}</h1>
          {data && <Badges node={data.node} />}
        </div>
        <nav className={styles.links} aria-label="More about this node">
          <Link to="/events" with={{ node: name }}>Events</Link>
        </nav>
        {data && <Facts facts={factsOf(data.node)} />}
        {data && <Reasons reasons={data.node.reasons} health={data.node.health} />}
      </header>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {isPending && !error && <div role="status" aria-label="Loading"><Skeleton height={230} /></div>}
      {data && <Content key={id} data={data} cluster={cluster} />}
    </div>
  )
}

function Content({ data, cluster }: { data: NodeDetail; cluster: string }) {
  const { id, name } = data.node
  const on = useMemo(() => ({ cluster, node: name }), [cluster, name])
  const itself = useMemo(() => ({ cluster, kind: 'Node', name }), [cluster, name])
  const { events } = useHappened(on, itself)
  const marks = useMemo(() => marksOf(events.filter((e) => e.type === 'Warning' || e.object.kind === 'Node')), [events]) // of its pods only what went wrong
  const filter = useMemo(() => ({ node: id }), [id])
  return (
    <>
      {!data.node.watched && <p className={styles.note}>No agent measures on this node, so its use is not known. In a cluster the agent runs on every node as a DaemonSet.</p>}
      <UsageCharts charts={data.charts} marks={marks} />
      <Happened events={events} link={{ node: name }} />
      <Pods filter={filter} given={GIVEN} quiet={!data.node.kubernetes} />
    </>
  )
}

const GIVEN = ['node'] as const

function Badges({ node }: { node: InventoryNode }) {
  const held = Object.entries(node.conditions).filter(([type, status]) => type !== 'Ready' && status === 'true').map(([type]) => type)
  const ready = node.conditions.Ready
  return (
    <>
      {node.roles.map((role) => <span key={role} className={styles.badge}>{role}</span>)}
      {node.unschedulable && <span className={styles.badge}>cordoned</span>}
      {ready !== undefined && <span className={styles.badge} data-bad={ready !== 'true'}>{ready === 'true' ? 'Ready' : ready === 'false' ? 'Not ready' : 'Ready: unknown'}</span>}
      {held.map((type) => <span key={type} className={styles.badge} data-bad>{type}</span>)}
    </>
  )
}

/** The addresses of a node; those of a dual-stack cluster say which is which. */
function addressesOf(n: InventoryNode): [string, string][] {
  return n.ips.map((ip) => [n.ips.length === 1 ? 'Address' : ip.includes(':') ? 'IPv6 address' : 'IPv4 address', ip])
}

function factsOf(n: InventoryNode): Fact[] {
  const facts: Fact[] = [
    { name: 'Processor', value: `${cores(n.cpu.used)} of ${cores(n.cpu.capacity)} cores`, bad: (shareOf(n.cpu, 'node') ?? 0) >= 0.95 },
    { name: 'Memory', value: `${bytes(n.memory.used)} of ${bytes(n.memory.capacity)}`, bad: (shareOf(n.memory, 'node') ?? 0) >= 0.92 },
  ]
  if (n.kubernetes) {
    facts.push(
      { name: 'Cores requested', value: `${cores(n.cpu.requests ?? 0)} of ${cores(n.cpu.allocatable)}`, title: 'of what pods may take' },
      { name: 'Memory requested', value: `${bytes(n.memory.requests ?? 0)} of ${bytes(n.memory.allocatable)}`, title: 'of what pods may take' },
      { name: 'Pods', value: n.podLimit ? `${n.pods} of ${n.podLimit}` : n.pods },
    )
  }
  facts.push(
    { name: 'Busiest disk', value: percent(n.diskBusy) },
    { name: 'Fullest file system', value: percent(n.diskUsed), title: 'used, of its bytes or inodes', bad: (n.diskUsed ?? 0) >= 0.9 },
  )
  for (const [name, value] of [['Kubelet', n.version], ['Kernel', n.kernel], ['System', n.system], ['Runtime', n.runtime], ...addressesOf(n)] as const) {
    if (value) facts.push({ name, value, title: value })
  }
  if (n.uptimeSeconds !== null) facts.push({ name: 'Up for', value: n.uptimeSeconds > 172_800 ? `${Math.round(n.uptimeSeconds / 86_400)} d` : duration(n.uptimeSeconds) })
  return facts.filter((f) => f.value !== UNKNOWN)
}
