// @vitest-environment jsdom
import { act, renderHook } from './testing.tsx'
import { beforeEach, describe, expect, it } from 'vitest'
import { applyChange, navigate, urlTo, useUrlState } from './location.ts'

beforeEach(() => navigate('/', true))

describe('applyChange', () => {
  it.each([
    ['', { q: 'a b' }, '?q=a+b'],
    ['?q=1&z=2', { q: null }, '?z=2'],
    ['?q=1', { q: ['a', 'b'] }, '?q=a&q=b'],
    ['?q=1', { q: [] }, ''],
    ['', { id: 'shop/Deployment/api' }, '?id=shop/Deployment/api'],
    ['', { q: 'a&b=c' }, '?q=a%26b%3Dc'],
  ])('%j with %j is %j', (search, change, want) => expect(applyChange(search, change)).toBe(want))
})

it('takes the time range to another page and leaves the rest', () => {
  expect(urlTo('/workload', { id: '/Process/nginx' }, '?range=1h&refresh=5s&q=x&node=y')).toBe('/workload?range=1h&refresh=5s&id=/Process/nginx')
  expect(urlTo('/', {}, '')).toBe('/')
})

describe('useUrlState', () => {
  it('follows what is set, and the Back button', async () => {
    const hook = renderHook(() => useUrlState())
    act(() => hook.current.set({ q: 'one' }))
    expect(hook.current.params.get('q')).toBe('one')
    act(() => hook.current.set({ q: 'two' }))
    act(() => hook.current.set({ q: 'three' }, { replace: true }))
    expect(window.location.search).toBe('?q=three')
    const popped = new Promise((done) => window.addEventListener('popstate', done, { once: true }))
    await act(async () => {
      window.history.back()
      await popped
    })
    expect(hook.current.params.get('q')).toBe('one')
    hook.unmount()
  })

  it('makes no step in the history when nothing changes', () => {
    const hook = renderHook(() => useUrlState())
    act(() => hook.current.set({ q: 'same' }))
    const before = window.history.length
    act(() => hook.current.set({ q: 'same' }))
    expect(window.history.length).toBe(before)
    hook.unmount()
  })
})
