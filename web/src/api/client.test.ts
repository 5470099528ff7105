import { afterEach, describe, expect, it, vi } from 'vitest'
import { api, ApiError, getJSON, withParams } from './client.ts'
import { instantQuery, seriesName } from './prometheus.ts'

function answer(body: string, status = 200) {
  const fetched = vi.fn(async (_url: string) => new Response(body, { status }))
  vi.stubGlobal('fetch', fetched)
  return fetched
}
afterEach(() => vi.unstubAllGlobals())

const failure = async (): Promise<ApiError> => {
  try {
    await getJSON('/api/map')
  } catch (err) {
    return err as ApiError
  }
  throw new Error('no failure')
}

describe('getJSON', () => {
  it('gives the server’s own sentence', async () => {
    answer('{"status":"error","errorType":"bad_data","error":"start lies after end; swap them"}', 400)
    expect(await failure()).toMatchObject({ message: 'start lies after end; swap them', status: 400, type: 'bad_data' })
  })
  it.each([
    ['<html>Bad gateway</html>', 502, 'The server answered with status 502.'],
    ['', 503, 'The server answered with status 503.'],
    ['unauthorized', 401, 'unauthorized'],
    ['{"status":"error"}', 500, '{"status":"error"}'],
  ])('makes a sentence of %j', async (body, status, want) => {
    answer(body, status)
    expect(await failure()).toMatchObject({ message: want, status })
  })
  it('says so when no server answers', async () => {
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('Failed to fetch')
    })
    expect(await failure()).toMatchObject({ status: 0, type: 'network' })
  })
  it('says so when the answer is not JSON', async () => {
    answer('<html>', 200)
    expect(await failure()).toMatchObject({ type: 'decode' })
  })
  it('passes an abort on as it is', async () => {
    const abort = new AbortController()
    abort.abort()
    const reason = new DOMException('aborted', 'AbortError')
    vi.stubGlobal('fetch', async () => {
      throw reason
    })
    await expect(getJSON('/x', abort.signal)).rejects.toBe(reason)
  })
})

describe('addresses', () => {
  it('leaves out what is not given', () => {
    expect(withParams('/api/map', { start: '-5m', end: undefined, namespace: '' })).toBe('/api/map?start=-5m')
    expect(withParams('/x', { 'match[]': ['a', 'b'] })).toBe('/x?match%5B%5D=a&match%5B%5D=b')
    expect(withParams('/x', {})).toBe('/x')
  })
  it('asks for a workload by its id', async () => {
    const fetched = answer('{}')
    await api.workload('/Process/a b', { start: '-5m' })
    expect(fetched.mock.calls[0]![0]).toBe('/api/workload?id=%2FProcess%2Fa+b&start=-5m')
  })
})

describe('Prometheus', () => {
  it('keeps warnings and infos as notes', async () => {
    answer('{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["w"],"infos":["i"]}')
    expect(await instantQuery('up', 1)).toEqual({ data: { resultType: 'vector', result: [] }, notes: ['w', 'i'] })
  })
  it.each([
    [{}, '{}'], [{ __name__: 'up' }, 'up'], [{ __name__: 'up', job: 'a"b', az: '1' }, 'up{az="1", job="a\\"b"}'], [{ a: 'b' }, '{a="b"}'],
  ])('names %j as %s', (metric, want) => expect(seriesName(metric as Record<string, string>)).toBe(want))
})
