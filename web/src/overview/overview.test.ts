import { describe, expect, it } from 'vitest'
import { topology, workloadList } from '../../dev/fixture.ts'
import { compareCells, parseSort, printSort } from '../ui/sorting.ts'
import { filterFromParams, matches, totalsOf } from './filter.ts'

const LIST = workloadList(topology(60, 100), 1000, 1300).workloads
const filter = (text: string) => filterFromParams(new URLSearchParams(text))

describe('the filter', () => {
  it('lets everything through when it is empty', () => expect(LIST.filter((w) => matches(w, filter('')))).toHaveLength(60))
  it('asks for every word, in any case', () => {
    const w = { ...LIST[0]!, namespace: 'shop', name: 'api', reasons: ['4.2 % of requests fail'] }
    expect(matches(w, filter('q=SHOP+api'))).toBe(true)
    expect(matches(w, filter('q=fail'))).toBe(true)
    expect(matches(w, filter('q=shop+db'))).toBe(false)
  })
  it('knows an empty namespace from none', () => {
    const plain = { ...LIST[0]!, namespace: '' }
    expect(matches(plain, filter('ns='))).toBe(true)
    expect(matches({ ...plain, namespace: 'shop' }, filter('ns='))).toBe(false)
    expect(matches(plain, filter(''))).toBe(true)
  })
  it('reads health as a list and drops what it does not know', () => {
    expect(filter('health=critical,nonsense,ok').health).toEqual(['critical', 'ok'])
    expect(matches({ ...LIST[0]!, health: 'idle' }, filter('health=ok'))).toBe(false)
    expect(matches({ ...LIST[0]!, health: 'idle' }, filter('health=ok'), false)).toBe(true)
  })
})

it('adds up', () => {
  const signals = { rate: 10, errorShare: 0.5, p50: null, p95: null, p99: null }
  const two = [{ ...LIST[0]!, health: 'critical' as const, signals }, { ...LIST[1]!, health: 'idle' as const, signals: { ...signals, rate: null } }]
  expect(totalsOf(two)).toEqual({ count: 2, byHealth: { ok: 0, warning: 0, critical: 1, idle: 1 }, rate: 10, failing: 5 })
})

describe('sorting', () => {
  const columns = [{ id: 'rate', value: () => 1 }, { id: 'codes' }]
  it('is one URL parameter', () => {
    expect(parseSort('-rate', columns)).toEqual([{ id: 'rate', desc: true }])
    expect(printSort([{ id: 'rate', desc: false }])).toBe('rate')
    expect(printSort([])).toBeNull()
  })
  it.each([null, '', 'nothing', '-codes'])('ignores %j', (text) => expect(parseSort(text, columns)).toEqual([]))
  it('orders numbers in names by size', () => expect(['a10', 'a9'].sort(compareCells)).toEqual(['a9', 'a10']))
})

