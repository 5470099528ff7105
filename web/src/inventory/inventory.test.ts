import { describe, expect, it } from 'vitest'
import type { Pod, Resource } from '../api/types.ts'
import { markAt } from '../chart/data.ts'
import { age, cores } from '../format/number.ts'
import { idIn, splitCluster } from '../ui/ids.ts'
import { ALL_PODS, chosenPods, narrowed } from './filter.ts'
import { boundOf, flowLines, inWords, linesOf, restartLines, shareOf } from './resources.ts'

const resource = (some: Partial<Resource>): Resource => ({ capacity: null, allocatable: null, requests: null, limits: null, used: null, ...some })
const series = (...values: number[]) => ({ start: 100, step: 10, values })

describe('use', () => {
  it('is measured against the limit, else the request', () => {
    expect(boundOf(resource({ limits: 2, requests: 1 }), 'pod')).toEqual({ value: 2, word: 'of limit' })
    expect(boundOf(resource({ requests: 1 }), 'pod')).toEqual({ value: 1, word: 'of request' })
    expect(boundOf(resource({ limits: 0 }), 'pod')).toBeNull()
  })
  it('of a node is measured against what it has, whatever pods may take', () => {
    expect(shareOf(resource({ used: 1, capacity: 4, limits: 9 }), 'node')).toBe(0.25)
    expect(shareOf(resource({ capacity: 4 }), 'node')).toBeNull()
  })
  it('is said in words', () => expect(inWords(resource({ used: 0.5, limits: 2 }), cores)).toBe('0.5 used, 2 limit'))
})

describe('charts', () => {
  it('have the lines that are known, use first, without those that mislead', () => {
    const charts = { cpuLimits: series(2, 2), cpuUsed: series(1, 2), memoryUsed: series(5, 6) }
    expect(linesOf(charts, 'cpu').lines.map((l) => l.label)).toEqual(['used', 'limits'])
    expect(linesOf(charts, 'cpu', ['Limits']).lines.map((l) => l.label)).toEqual(['used'])
    expect(linesOf(charts, 'memory')).toMatchObject({ times: [100, 110], lines: [{ values: [5, 6] }] })
    expect(flowLines({ ...charts, diskRead: series(1) }).lines.map((l) => l.label)).toEqual(['read'])
    expect(flowLines(charts).lines).toEqual([])
    expect(restartLines({ restarts: series(0, 2) }).lines.map((l) => l.values)).toEqual([[0, 2]])
    expect(restartLines({ restarts: series(0, 0) }).lines).toEqual([])
  })
  it('tell what is marked under the cursor, the worst first', () => {
    const marks = [{ time: 103, bad: false, text: 'a' }, { time: 104, bad: true, text: 'b' }, { time: 110, bad: true, text: 'c' }]
    expect(markAt(marks, [100, 110, 120], 0)?.text).toBe('b')
    expect(markAt(marks, [100, 110, 120], 2)).toBeUndefined()
  })
})

it('chooses pods by all words, namespace and health', () => {
  const pod = (some: Partial<Pod>) => ({ namespace: 'shop', name: 'cart-1', workload: 'shop/Deployment/cart', node: 'n1', ip: '', status: 'Running', reasons: [], health: 'ok', ...some }) as unknown as Pod
  const pods = [pod({}), pod({ name: 'web-1', workload: 'shop/Deployment/web', status: 'CrashLoopBackOff', health: 'critical' })]
  const choose = (some: Partial<Parameters<typeof chosenPods>[2]>, named = pods) => chosenPods(pods, named, { text: '', space: '', health: '', ...some }).map((p) => p.name)
  expect(choose({})).toEqual(['cart-1', 'web-1'])
  expect(choose({ text: 'CRASH n1' })).toEqual(['web-1'])
  expect(choose({ text: 'crash n2' })).toEqual([])
  expect(choose({ health: 'ok' })).toEqual(['cart-1'])
  expect(choose({ space: 'eu › shop' }, [pods[0]!, pod({ namespace: 'eu › shop' })])).toEqual(['web-1'])
})

it('asks the server for a namespace only where one answer does not hold all pods', () => {
  const pods = [{ cluster: 'eu', namespace: 'shop' }] as Pod[]
  const list = (total: number) => ({ start: '', end: '', known: true, total, pods })
  expect(narrowed(list(1), pods, 'shop')).toBe(ALL_PODS)
  expect(narrowed(list(9), pods, '')).toBe(ALL_PODS)
  expect(narrowed(list(9), pods, 'shop')).toEqual({ cluster: 'eu', namespace: 'shop' })
  expect(narrowed(undefined, [], 'shop')).toBe(ALL_PODS)
})

it('reads and writes ids within a cluster', () => {
  const clusters = { home: 'west', all: ['west'] }
  expect(idIn('west', 'n1', clusters)).toBe('n1')
  expect(idIn('', 'n1', clusters)).toBe('n1')
  expect(idIn('eu/1', 'shop/cart-1', clusters)).toBe('eu%2F1:shop/cart-1')
  expect(splitCluster('eu%2F1:shop/cart-1')).toEqual({ cluster: 'eu/1', text: 'shop/cart-1' })
  expect(splitCluster('n1')).toEqual({ cluster: '', text: 'n1' })
})

it('writes ages and cores', () => {
  expect(['1970-01-01T00:00:00Z'].map((t) => [age(t, 90), age(t, 600), age(t, 10_000), age(t, 864_000)])).toEqual([['90 s', '10 min', '3 h', '10 d']])
  expect(age(null, 5)).toBe('–')
  expect([0, 0.0004, 0.25, 12, null].map(cores)).toEqual(['0', '<0.001', '0.25', '12', '–'])
})
