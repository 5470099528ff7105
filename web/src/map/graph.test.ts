import { describe, expect, it } from 'vitest'
import { topology } from '../../dev/fixture.ts'
import type { Health, MapEdge, MapNode } from '../api/types.ts'
import { buildGraph, groupId, type Grouping } from './graph.ts'
import { distance, hitTest } from './hit.ts'
import { nodeTowards, startNode } from './keyboard.ts'
import { find, lightOf, search } from './light.ts'
import { lineWidth } from './paintEdges.ts'
import { edgeFigures, placeLabel } from './paintLabels.ts'
import { subtitle } from './paintNodes.ts'
import { along, edgeLine } from './shape.ts'
import { toScreen } from './view.ts'
import { describeNode } from './words.ts'

const OFF: Grouping = { on: false, open: new Set() }
const node = (id: string, x: number, y: number, rate: number | null = 1, health: Health = 'ok'): MapNode => {
  const [namespace = '', kind = '', name = ''] = id.split('/')
  return { id, cluster: '', namespace, kind, name, health, signals: { rate, errorShare: 0, p50: 0.001, p95: 0.01, p99: 0.1 }, x, y }
}
const edge = (client: string, server: string, rate: number | null = 1, health: Health = 'ok', errorShare = 0): MapEdge => ({
  id: `${client}>${server}`, client, server, port: 80, protocol: 'http', health,
  signals: { rate, errorShare, p50: null, p95: 0.01, p99: null }, connectRate: null, failedConnectRate: null, bytesSentRate: null,
  bytesReceivedRate: null, retransmitRate: null, rtt: null,
})
const SHOP = {
  nodes: [node('shop/Deployment/web', 0, 0), node('shop/Deployment/api', 260, 0), node('data/StatefulSet/db', 520, 80, 10, 'critical'), node('/Process/curl', 0, 160, null, 'idle')],
  edges: [edge('shop/Deployment/web', 'shop/Deployment/api', 90), edge('shop/Deployment/api', 'shop/Deployment/web', 5), edge('shop/Deployment/api', 'data/StatefulSet/db', 10, 'critical', 0.5), edge('/Process/curl', 'shop/Deployment/web', 1)],
}
const VIEW = { scale: 1, x: 100, y: 100 }

describe('buildGraph', () => {
  it('keeps each workload and edge as it is', () => {
    const graph = buildGraph(SHOP, OFF)
    expect(graph.nodes.map((n) => n.name)).toEqual(['web', 'api', 'db', 'curl'])
    expect(graph.edges.map((e) => [e.from, e.to, e.paired])).toEqual([[0, 1, true], [1, 0, true], [1, 2, false], [3, 0, false]])
    expect(graph.nodes[0]!.edges).toEqual([0, 1, 3])
    expect(graph.bounds).toEqual({ minX: 0, minY: 0, maxX: 520, maxY: 160 })
    expect(graph.areas).toEqual([])
  })

  it('folds namespaces into one node with the worst health, sums, and no made-up quantile', () => {
    const graph = buildGraph(SHOP, { on: true, open: new Set(['data']) })
    expect(graph.nodes.map((n) => n.id)).toEqual(['data/StatefulSet/db', '/Process/curl', groupId('shop')])
    const shop = graph.nodes[2]!
    expect(shop).toMatchObject({ x: 130, y: 0, rate: 2, p95: null, health: 'ok' })
    expect(shop.members.map((m) => m.name)).toEqual(['web', 'api'])
    expect(graph.edges.map((e) => e.parts.map((p) => p.id))).toEqual([['shop/Deployment/api>data/StatefulSet/db'], ['/Process/curl>shop/Deployment/web']])
    expect(graph.areas.map((a) => a.namespace)).toEqual(['data'])
  })

  it('joins several ports into one line and weighs their errors by rate', () => {
    const map = { nodes: SHOP.nodes, edges: [edge('shop/Deployment/web', 'shop/Deployment/api', 30), { ...edge('shop/Deployment/web', 'shop/Deployment/api', 10, 'critical', 0.4), id: 'other', port: 81 }] }
    const [joined] = buildGraph(map, OFF).edges
    expect(joined).toMatchObject({ rate: 40, errorShare: 0.1, p95: null, health: 'critical' })
    expect(joined!.parts).toHaveLength(2)
  })

  it('drops edges whose end is not on the map, and is empty without nodes', () => {
    expect(buildGraph({ nodes: SHOP.nodes.slice(0, 1), edges: SHOP.edges }, OFF).edges).toEqual([])
    expect(buildGraph({ nodes: [], edges: [] }, OFF).bounds).toEqual({ minX: 0, minY: 0, maxX: 0, maxY: 0 })
  })

  it('moves folded namespaces apart', () => {
    const nodes = Array.from({ length: 12 }, (_, i) => node(`ns${i}/Deployment/a`, i, i))
    const placed = buildGraph({ nodes, edges: [] }, { on: true, open: new Set() }).nodes
    for (const a of placed) for (const b of placed) if (a !== b) expect(Math.abs(a.x - b.x) > 180 || Math.abs(a.y - b.y) > 45).toBe(true)
    expect(buildGraph({ nodes, edges: [] }, { on: true, open: new Set() }).nodes).toEqual(placed)
  })

  it('takes 1,000 workloads and 3,000 edges in the time of a few frames', () => {
    const big = topology(1000, 3000)
    expect([big.nodes.length, big.edges.length]).toEqual([1000, 3000])
    const start = performance.now()
    const graph = buildGraph(big, OFF)
    hitTest(graph, { scale: 0.2, x: 0, y: 0 }, { x: -50, y: -50 })
    expect(graph.edges.length).toBe(3000)
    expect(performance.now() - start).toBeLessThan(500)
  })
})

describe('hitTest', () => {
  const graph = buildGraph(SHOP, OFF)
  it('finds nodes before edges, and nothing beside them', () => {
    expect(hitTest(graph, VIEW, { x: 100, y: 100 })).toEqual({ kind: 'node', index: 0 })
    expect(hitTest(graph, VIEW, { x: 100 + 260 + 80, y: 115 })).toEqual({ kind: 'node', index: 1 })
    expect(hitTest(graph, VIEW, { x: 100, y: 400 })).toBeNull()
  })
  it('finds a curve where it is drawn', () => {
    graph.edges.forEach((e, index) => {
      expect(hitTest(graph, VIEW, along(edgeLine(graph.nodes, e, VIEW), 0.5))).toEqual({ kind: 'edge', index })
    })
  })
  it('bows an edge that would run through the card between', () => {
    const row = { nodes: [node('a/D/x', 0, 0), node('a/D/y', 260, 0), node('a/D/z', 520, 0)], edges: [edge('a/D/x', 'a/D/z')] }
    const g = buildGraph(row, OFF)
    const middle = along(edgeLine(g.nodes, g.edges[0]!, VIEW), 0.5)
    expect(middle.y).toBeLessThan(100 - 30)
    expect(hitTest(g, VIEW, middle)).toEqual({ kind: 'edge', index: 0 })
    expect(hitTest(g, VIEW, { x: 360, y: 100 })).toEqual({ kind: 'node', index: 1 })
  })
  it('finds small marks with some slack', () => {
    const far = { scale: 0.1, x: 0, y: 0 }
    const at = toScreen(far, graph.nodes[2]!)
    expect(hitTest(graph, far, { x: at.x + 6, y: at.y })).toEqual({ kind: 'node', index: 2 })
  })
  it('measures the distance from a segment, not from its line', () => {
    expect(distance({ x: 5, y: 3 }, { x: 0, y: 0 }, { x: 10, y: 0 })).toBe(3)
    expect(distance({ x: 14, y: 3 }, { x: 0, y: 0 }, { x: 10, y: 0 })).toBe(5)
    expect(distance({ x: 3, y: 4 }, { x: 0, y: 0 }, { x: 0, y: 0 })).toBe(5)
  })
})

describe('keyboard', () => {
  const { nodes } = buildGraph(SHOP, OFF)
  it('moves to the nearest in the direction', () => {
    expect(nodeTowards(nodes, nodes[0]!, 'ArrowRight')?.name).toBe('api')
    expect(nodeTowards(nodes, nodes[0]!, 'ArrowDown')?.name).toBe('curl')
    expect(nodeTowards(nodes, nodes[2]!, 'ArrowLeft')?.name).toBe('api')
    expect(nodeTowards(nodes, nodes[0]!, 'ArrowUp')).toBeNull()
  })
  it('starts at trouble', () => expect(startNode(nodes)?.name).toBe('db'))
  it('has nowhere to start on an empty map', () => expect(startNode([])).toBeNull())
})

describe('light', () => {
  const graph = buildGraph(SHOP, OFF)
  it('is on neighbours of a node and on the ends of an edge', () => {
    const around = lightOf(graph, { kind: 'node', index: 1 }, null)
    expect([...around.nodes!].sort()).toEqual([0, 1, 2])
    expect([...lightOf(graph, { kind: 'edge', index: 3 }, null).nodes!].sort()).toEqual([0, 3])
    expect(lightOf(graph, null, null)).toEqual({ nodes: null, edges: null })
  })
  it('follows a search, also into folded namespaces', () => {
    expect(search(graph, '')).toBeNull()
    expect([...search(graph, 'DEPLOYMENT shop')!]).toEqual([0, 1])
    const folded = buildGraph(SHOP, { on: true, open: new Set() })
    expect([...search(folded, 'api')!].map((i) => folded.nodes[i]!.name)).toEqual(['shop'])
  })
  it('finds ids, also of what is folded', () => {
    expect(find(graph, 'data/StatefulSet/db')).toEqual({ kind: 'node', index: 2 })
    expect(find(graph, '/Process/curl>shop/Deployment/web')).toEqual({ kind: 'edge', index: 3 })
    expect(find(graph, 'gone')).toBeNull()
    const folded = buildGraph(SHOP, { on: true, open: new Set() })
    expect(folded.nodes[find(folded, 'shop/Deployment/api')!.index]!.name).toBe('shop')
  })
})

describe('words and widths', () => {
  const graph = buildGraph(SHOP, OFF)
  it('names what is known only', () => {
    expect(edgeFigures({ rate: 90, p95: 0.01, errorShare: 0 })).toEqual(['90/s', 'p95 10 ms'])
    expect(edgeFigures({ rate: 10, p95: null, errorShare: 0.5 })).toEqual(['10/s', '50 % err'])
    expect(edgeFigures({ rate: null, p95: null, errorShare: null })).toEqual([])
    expect(subtitle(graph.nodes[3]!)).toBe('Process')
    expect(subtitle(graph.nodes[0]!)).toBe('1/s · 10 ms')
  })
  it('puts a label beside what is in its way', () => {
    const line = { a: { x: 0, y: 0 }, b: { x: 400, y: 0 } }
    expect(placeLabel(line, { x: 30, y: 20 }, [])).toEqual({ x: 200, y: 0 })
    expect(placeLabel(line, { x: 30, y: 20 }, [{ at: { x: 200, y: 0 }, half: { x: 40, y: 20 } }])).toEqual({ x: 120, y: 0 })
    expect(placeLabel(line, { x: 30, y: 20 }, [{ at: { x: 200, y: 0 }, half: { x: 900, y: 20 } }])).toEqual({ x: 200, y: 0 })
  })
  it('describes a node for those who do not see it', () => {
    expect(describeNode(graph, graph.nodes[0]!)).toBe('web, Deployment in shop. Healthy, 1/s, 0 % errors, p95 10 ms. 2 callers, 1 callee.')
  })
  it('draws a busier edge thicker', () => {
    const width = (rate: number | null) => lineWidth({ ...graph.edges[0]!, rate }, 1)
    expect(width(null)).toBe(1)
    expect(width(100)).toBeGreaterThan(width(10))
    expect(width(1e9)).toBeLessThan(6)
  })
})
