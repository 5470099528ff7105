import { describe, expect, it } from 'vitest'
import type { InventoryNode, Namespace, Pod, WorkloadSummary } from '../api/types.ts'
import { find, MOST, placesOf } from './search.ts'

const series = { start: 0, step: 1, values: [] }
const workload = (namespace: string, kind: string, name: string): WorkloadSummary => ({
  id: `${namespace}/${kind}/${name}`, cluster: '', namespace, kind, name, health: 'ok', reasons: [], signals: { rate: null, errorShare: null, p50: null, p95: null, p99: null },
  rateSpark: series, errorSpark: series, latencySpark: series,
})
const ALL = [workload('shop', 'Deployment', 'my-api'), workload('shop', 'Deployment', 'api-gateway'), workload('pay', 'StatefulSet', 'api'), workload('', 'Process', 'nginx')]
const known = {
  workloads: ALL,
  namespaces: [{ id: 'pay', cluster: '', name: 'pay' }, { id: 'shop', cluster: '', name: 'shop' }] as Namespace[],
  nodes: [{ id: 'n-1', cluster: '', name: 'n-1' }] as InventoryNode[],
  pods: [{ id: 'shop/my-api-5d-x', uid: '1', cluster: '', namespace: 'shop', name: 'my-api-5d-x' }] as Pod[],
}
const PLACES = placesOf(known)
const titles = (text: string) => find(PLACES, text).map((p) => p.title)

describe('search', () => {
  it('has the pages before anything is typed', () => expect(titles('  ')).toEqual(['Overview', 'Map', 'Namespaces', 'Pods', 'Nodes', 'Events', 'Query']))
  it('puts the exact name first, then what begins with it, then where a word does', () => expect(titles('api')).toEqual(['api', 'api-gateway', 'my-api', 'my-api-5d-x']))
  it('finds by kind and namespace, every word', () => {
    expect(titles('shop api')).toEqual(['my-api', 'api-gateway', 'my-api-5d-x'])
    expect(titles('statefulset')).toEqual(['api'])
    expect(titles('nginx shop')).toEqual([])
  })
  it('goes to a namespace', () => expect(find(PLACES, 'pay')[0]).toMatchObject({ title: 'pay', to: '/namespace', with: { id: 'pay' } }))
  it('goes to a node and a pod', () => {
    expect(find(PLACES, 'n-1')[0]).toMatchObject({ kind: 'Node', to: '/node', with: { id: 'n-1' } })
    expect(find(PLACES, '5d-x')[0]).toMatchObject({ kind: 'Pod in shop', to: '/pod', with: { id: 'shop/my-api-5d-x' } })
  })
  it('says the cluster where there is more than one', () => {
    const two = placesOf({ ...known, nodes: [...known.nodes, { id: 'eu:n-1', cluster: 'eu', name: 'n-1' } as InventoryNode] })
    expect(find(two, 'n-1 eu')[0]).toMatchObject({ kind: 'Node in eu', with: { id: 'eu:n-1' } })
  })
  it('shows no more than can be looked through', () => {
    const many = Array.from({ length: 1000 }, (_, i) => workload('', 'Process', `worker-${i}`))
    expect(find(placesOf({ ...known, workloads: many }), 'worker')).toHaveLength(MOST)
  })
})
