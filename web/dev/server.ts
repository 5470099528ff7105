// A Vite plugin that answers /api with generated data. VETCH_FIXTURE=1000x3000 sets workloads x edges; 0x0 is an empty machine.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Connect, Plugin } from 'vite'
import { parseSpan } from '../src/time/range.ts'
import { eventCounts, eventList, mapAt, status, topology, workloadDetail, workloadList } from './fixture.ts'
import { prometheus } from './prometheus.ts'

const now = () => Math.floor(Date.now() / 1000)

function instant(text: string | null, fallback: number): number {
  if (text === null) return fallback
  if (text.startsWith('-')) return now() - (parseSpan(text.slice(1)) ?? 300)
  return Number(text)
}

function send(res: ServerResponse, code: number, body: unknown) {
  res.writeHead(code, { 'Content-Type': 'application/json' })
  res.end(JSON.stringify(body))
}

function stream(req: IncomingMessage, res: ServerResponse, next: () => unknown) {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
  const tick = () => res.write(`event: map\ndata: ${JSON.stringify(next())}\n\n`)
  tick()
  const timer = setInterval(tick, 2000)
  req.on('close', () => clearInterval(timer))
}

export function fixtureServer(): Plugin {
  const [workloads = 40, edges = 90] = (process.env.VETCH_FIXTURE ?? '40x90').split('x').map(Number)
  const base = topology(workloads, edges)
  const answer: Connect.NextHandleFunction = (req, res, next) => {
    const url = new URL(req.url ?? '/', 'http://fixture')
    const q = url.searchParams
    const end = instant(q.get('end'), now())
    const start = instant(q.get('start'), end - 300)
    switch (url.pathname) {
      case '/api/map': return send(res, 200, mapAt(base, end, end - start))
      case '/api/map/stream': return stream(req, res, () => mapAt(base, now(), parseSpan(q.get('range') ?? '1m') ?? 60))
      case '/api/workloads': return send(res, 200, workloadList(base, start, end))
      case '/api/events': return send(res, 200, eventList(base, start, end))
      case '/api/events/counts': return send(res, 200, eventCounts(start, end, q.get('by') ?? 'reason'))
      case '/api/status': return send(res, 200, status)
      case '/api/workload': {
        const id = q.get('id') ?? ''
        const detail = workloadDetail(base, id, start, end)
        if (detail) return send(res, 200, detail)
        return send(res, 404, { status: 'error', errorType: 'not_found', error: `No workload ${id} was seen in this range. Take a longer one.` })
      }
    }
    const v1 = url.pathname.startsWith('/api/v1/') ? prometheus(url.pathname.slice(8), q) : null
    if (v1) return send(res, v1.status, v1.body)
    next()
  }
  return {
    name: 'vetch-fixture',
    configureServer: (server) => void server.middlewares.use(answer),
    configurePreviewServer: (server) => void server.middlewares.use(answer),
  }
}
