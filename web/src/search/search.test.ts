import { describe, expect, it } from 'vitest'
import type { WorkloadSummary } from '../api/types.ts'
import { find, MOST } from './search.ts'

const series = { start: 0, step: 1, values: [] }
const workload = (namespace: string, kind: string, name: string): WorkloadSummary => ({
  id: `${namespace}/${kind}/${name}`, cluster: '', namespace, kind, name, health: 'ok', reasons: [], signals: { rate: null, errorShare: null, p50: null, p95: null, p99: null },
  rateSpark: series, errorSpark: series, latencySpark: series,
})
const ALL = [workload('shop', 'Deployment', 'my-api'), workload('shop', 'Deployment', 'api-gateway'), workload('pay', 'StatefulSet', 'api'), workload('', 'Process', 'nginx')]
const titles = (text: string) => find(ALL, text).map((p) => p.title)

describe('search', () => {
  it('has the pages before anything is typed', () => expect(titles('  ')).toEqual(['Overview', 'Map', 'Events', 'Query']))
  it('puts the exact name first, then what begins with it, then where a word does', () => expect(titles('api')).toEqual(['api', 'api-gateway', 'my-api']))
  it('finds by kind and namespace, every word', () => {
    expect(titles('shop api')).toEqual(['my-api', 'api-gateway'])
    expect(titles('statefulset')).toEqual(['api'])
    expect(titles('nginx shop')).toEqual([])
  })
  it('goes to a namespace', () => expect(find(ALL, 'pay')[0]).toMatchObject({ title: 'pay', to: '/', with: { ns: 'pay' } }))
  it('shows no more than can be looked through', () => {
    const many = Array.from({ length: 1000 }, (_, i) => workload('', 'Process', `worker-${i}`))
    expect(find(many, 'worker')).toHaveLength(MOST)
  })
})
