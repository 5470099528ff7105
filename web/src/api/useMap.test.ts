import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { followMap } from './useMap.ts'

/** An EventSource whose server is the test. */
class Source extends EventTarget {
  static readonly CLOSED = 2
  static all: Source[] = []
  readyState = 1
  readonly url: string
  constructor(url: string) {
    super()
    this.url = url
    Source.all.push(this)
  }
  close() {
    this.readyState = Source.CLOSED
  }
  send(data: unknown) {
    this.dispatchEvent(Object.assign(new Event('map'), { data: JSON.stringify(data) }))
  }
  fail(readyState: number) {
    this.readyState = readyState
    this.dispatchEvent(new Event('error'))
  }
}

beforeEach(() => {
  Source.all = []
  vi.useFakeTimers()
  vi.stubGlobal('EventSource', Source)
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

it('hands on maps and says whether the stream is open', () => {
  const [onMap, onOpen] = [vi.fn(), vi.fn()]
  const close = followMap('15m', onMap, onOpen)
  expect(Source.all[0]!.url).toBe('/api/map/stream?range=15m')
  Source.all[0]!.send({ nodes: [], edges: [] })
  expect(onMap).toHaveBeenCalledWith({ nodes: [], edges: [] })
  expect(onOpen).toHaveBeenLastCalledWith(true)
  Source.all[0]!.fail(0) // the browser connects again by itself
  expect(onOpen).toHaveBeenLastCalledWith(false)
  vi.advanceTimersByTime(60_000)
  expect(Source.all).toHaveLength(1)
  close()
  expect(Source.all[0]!.readyState).toBe(Source.CLOSED)
})

it('asks again after a refusal, until it is closed', () => {
  const close = followMap('5m', vi.fn(), vi.fn())
  Source.all[0]!.fail(Source.CLOSED)
  vi.advanceTimersByTime(5000)
  expect(Source.all).toHaveLength(2)
  Source.all[1]!.fail(Source.CLOSED)
  close()
  vi.advanceTimersByTime(60_000)
  expect(Source.all).toHaveLength(2)
})
