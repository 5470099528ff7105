// What the tests do on the page, step by step. Each gets { page, address, pictures, require, say, traffic }.
import assert from 'node:assert/strict'
import { join } from 'node:path'

const SEEN_WITHIN_MS = 15_000

/** Waits until `ask` gives something true. */
async function until(what, ask, limit = 60_000) {
  const end = Date.now() + limit
  for (;;) {
    const got = await ask()
    if (got) return got
    if (Date.now() > end) assert.fail(`${what}: not within ${limit / 1000} s`)
    await new Promise((done) => setTimeout(done, 150))
  }
}

/** Serious or critical faults that axe finds are wrong. */
async function accessible({ page, require, say }, name) {
  const { AxeBuilder } = require('@axe-core/playwright')
  const { violations } = await new AxeBuilder({ page }).analyze()
  for (const v of violations) {
    const where = v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')}: ${n.failureSummary}`).join('\n')
    const bad = v.impact === 'serious' || v.impact === 'critical'
    say({ [bad ? 'wrong' : 'note']: `${name}: axe ${v.id} (${v.impact}): ${v.help}\n${where}` })
  }
}

async function look(context, name) {
  const { page, pictures } = context
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme })
    await page.waitForTimeout(150) // a frame or two for the canvases to take the other colours
    await page.mouse.move(0, 0)
    await accessible(context, `${name}, ${scheme}`)
    await page.screenshot({ path: join(pictures, `${name}${scheme === 'dark' ? '-dark' : ''}.png`) })
  }
  await page.setViewportSize({ width: 1024, height: 768 })
  await page.screenshot({ path: join(pictures, `${name}-dark-small.png`) })
  const wide = await page.evaluate(() => document.documentElement.scrollWidth)
  assert.ok(wide <= 1024, `${name} is ${wide} pixels wide on a screen of 1024`)
  await page.setViewportSize({ width: 1440, height: 900 })
  await page.emulateMedia({ colorScheme: 'light' })
}

const param = (page, name) => new URL(page.url()).searchParams.get(name)
const workload = (page, name) => page.getByRole('region', { name: 'Workloads' }).getByRole('link', { name, exact: true })

async function seen({ page, address, say, traffic }) {
  await page.goto(address)
  await page.getByRole('heading', { name: 'Overview' }).waitFor({ state: 'attached' })
  await traffic()
  const start = performance.now()
  await workload(page, 'nginx').waitFor({ timeout: SEEN_WITHIN_MS })
  await workload(page, 'curl').waitFor({ timeout: SEEN_WITHIN_MS - (performance.now() - start) })
  say({ at: 'seen' })
}

async function overview(context) {
  const { page } = context
  for (const name of ['orders', 'cart', 'accounts', 'stock']) await workload(page, name).waitFor()
  // Some figures first, so that the charts can be judged; WALK_SECONDS asks for more of them.
  await until('the order service is in trouble', async () => (await page.getByRole('row', { name: /orders/ }).first().innerText()).includes('%'))
  await page.waitForTimeout(1000 * Number(process.env.WALK_SECONDS ?? 15))
  await look(context, 'overview')
  await page.keyboard.press('/')
  await page.keyboard.type('orders')
  await until('the search filters', async () => (await page.getByRole('status').filter({ hasText: ' of ' }).count()) === 1)
  assert.equal(param(page, 'q'), 'orders')
  assert.equal(await workload(page, 'cart').count(), 0)
  await page.getByLabel('Search workloads').fill('')
  await page.getByRole('button', { name: 'Requests' }).click()
  await until('the order is in the URL', async () => param(page, 'sort') === '-rate')
}

async function map(context) {
  const { page, address } = context
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Map' }).click()
  await page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)
  await page.getByText('live', { exact: true }).waitFor()
  await look(context, 'map')

  // By keyboard: the arrows start at trouble and say where they are, Enter opens, Escape closes.
  const drawing = page.getByRole('application', { name: 'Service map' })
  await drawing.focus()
  await page.keyboard.press('ArrowRight')
  const said = await until('the first workload is said', () => drawing.locator('[aria-live]').innerText())
  assert.match(said, /callers?, /)
  await page.keyboard.press('Enter')
  await page.getByRole('complementary', { name: 'Details' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('complementary', { name: 'Details' }).waitFor({ state: 'detached' })

  // By pointer: a workload in the middle of the view opens by a click; its neighbours are in the panel.
  const { nodes } = await (await fetch(`${address}/api/map?start=-5m`)).json()
  const nginx = nodes.find((n) => n.name === 'nginx')
  await page.goto(`${address}/map?view=${Math.round(nginx.x)},${Math.round(nginx.y)},1`)
  await page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)
  const box = await page.getByTestId('map-canvas').boundingBox()
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2)
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2)
  const panel = page.getByRole('complementary', { name: 'Details' })
  await panel.getByRole('heading', { name: 'nginx' }).waitFor()
  for (const name of ['curl', 'orders', 'cart']) await panel.getByRole('button', { name, exact: true }).first().waitFor()
  assert.equal(param(page, 'node'), nginx.id)
  await look(context, 'map-panel')
  await panel.getByRole('button', { name: /^The edge with orders on port/ }).first().click()
  await panel.getByText('http on port').waitFor()
  await accessible(context, 'edge panel')

  await page.getByText('List', { exact: true }).click()
  await page.getByRole('region', { name: 'Edges of the service map' }).waitFor()
  await look(context, 'map-list')
  await page.goto(`${address}/map?node=${encodeURIComponent(nginx.id)}`)
  await panel.getByRole('link', { name: 'Open workload' }).click()
}

async function detail(context) {
  const { page } = context
  await page.getByRole('heading', { name: 'nginx', level: 1 }).waitFor()
  await page.getByRole('img', { name: /Requests a second by status class, latest: 2xx/ }).waitFor()
  const routes = page.getByRole('region', { name: 'Routes' })
  await routes.getByRole('link', { name: /^\/api\/orders\// }).first().waitFor()
  await page.getByRole('region', { name: 'Callers' }).getByRole('link', { name: 'curl' }).first().waitFor()
  await page.getByRole('region', { name: 'Callees' }).getByRole('link', { name: 'orders' }).first().waitFor()
  await look(context, 'workload')
  await routes.getByRole('button', { name: 'p95' }).click()
  assert.equal(param(page, 'routes'), '-p95')

  // Dragging over a chart takes that part as the time range; Back undoes it.
  const chart = await page.getByRole('img', { name: /Duration of requests/ }).boundingBox()
  await page.mouse.move(chart.x + chart.width * 0.4, chart.y + 60)
  await page.mouse.down()
  await page.mouse.move(chart.x + chart.width * 0.9, chart.y + 60, { steps: 5 })
  await page.mouse.up()
  await until('the range is absolute', async () => param(page, 'from') !== null && param(page, 'to') !== null)
  await page.goBack()
  await until('the range is relative again', async () => param(page, 'from') === null)
  await page.getByRole('link', { name: 'Query: Duration' }).click()
}

async function query(context) {
  const { page, address } = context
  const editor = page.getByRole('textbox', { name: 'Query A' })
  await editor.waitFor()
  await until('the link brings its query', async () => (await editor.innerText()).includes('histogram_quantile'))
  await page.getByRole('img', { name: /Result of the queries, latest/ }).waitFor()
  const ask = async (text) => {
    await editor.fill(text)
    await page.getByRole('button', { name: 'Run Query A' }).click()
  }
  await ask('sum by (workload) (rate(vetch_workload_requests_total[1m]))')
  await page.getByRole('button', { name: /workload="nginx"/ }).waitFor()
  await look(context, 'query')
  await page.getByRole('button', { name: /workload="nginx"/ }).click()
  assert.equal(await page.getByRole('button', { name: /workload="nginx"/ }).getAttribute('aria-pressed'), 'false')

  await ask('sum by (workload) (rate(vetch_workload_requests_total[1m])')
  await page.getByRole('alert').filter({ hasText: 'parse error' }).waitFor()
  await accessible(context, 'query with an error')

  await page.goto(`${address}/query?view=table&q=vetch_workload_request_duration_seconds`)
  await page.getByText(/observations, mean/).first().waitFor()
  await look(context, 'query-table')

  await page.goto(`${address}/query`)
  await editor.click()
  await page.keyboard.type('vetch_workload_req')
  await page.locator('.cm-tooltip-autocomplete').getByText('vetch_workload_requests_total').waitFor()
}

async function events(context) {
  const { page } = context
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Events' }).click()
  await page.getByRole('heading', { name: 'Events', exact: true }).waitFor({ state: 'attached' })
  await page.getByRole('status').filter({ hasText: /\d+ events?$/ }).waitFor()
  await page.getByRole('combobox', { name: 'Type' }).selectOption('Warning')
  await until('the choice is in the URL', async () => param(page, 'type') === 'Warning')
  await look(context, 'events')
  await page.getByRole('searchbox', { name: 'Search messages' }).fill('nothing says this')
  await page.getByText('Nothing happened').waitFor()
}

async function search(context) {
  const { page, address } = context
  await page.goto(`${address}/query`)
  await page.getByRole('heading', { name: 'Query', exact: true }).waitFor({ state: 'attached' })
  await page.keyboard.press('Control+k')
  const field = page.getByRole('combobox', { name: 'Go to' })
  await field.fill('ngi')
  await page.getByRole('option', { name: /^nginx/ }).first().waitFor()
  await accessible(context, 'search')
  await field.press('Enter')
  await until('it goes to the workload', async () => param(page, 'id') === '/Process/nginx')
  await page.keyboard.press('Control+k')
  await page.keyboard.press('Escape')
  await field.waitFor({ state: 'detached' })
}

async function elsewhere(context) {
  const { page, address } = context
  await page.goto(`${address}/workload?id=/Process/never-seen`)
  await page.getByRole('alert').waitFor()
  await page.goto(`${address}/no/such/page`)
  await page.getByText('There is no such page').waitFor()
  // A preset, and the picker by keyboard.
  await page.goto(address)
  await page.getByRole('button', { name: 'Last 5 minutes' }).click()
  await accessible(context, 'time picker')
  await page.getByRole('button', { name: 'Last 15 minutes' }).click()
  assert.equal(param(page, 'range'), '15m')
  await page.getByRole('button', { name: /^Colours/ }).click()
  await page.getByRole('button', { name: /^Colours: light/ }).click()
  await until('dark is chosen', () => page.evaluate(() => document.documentElement.dataset.mantineColorScheme === 'dark'))
  await page.getByRole('button', { name: /^Colours: dark/ }).click()
  await until('the system chooses again', () => page.evaluate(() => document.documentElement.dataset.mantineColorScheme === 'light'))
}

const figures = (rate) => ({ rate, errorShare: 0, p50: 0.001, p95: 0.01, p99: 0.1 })
const member = (namespace, name, x, y) => ({ id: `${namespace}/Deployment/${name}`, cluster: '', namespace, kind: 'Deployment', name, health: 'ok', reasons: [], signals: figures(5), x, y })
const call = (client, server) => ({
  id: `${client.id}>${server.id}`, client: client.id, server: server.id, port: 80, protocol: 'http', health: 'ok', signals: figures(5), connectRate: 1,
  failedConnectRate: 0, bytesSentRate: 1, bytesReceivedRate: 1, retransmitRate: 0, rtt: 0.001,
})

/** A map with namespaces, which a plain machine does not have: answered here instead of by vetch. */
async function namespaces(context) {
  const { page, address } = context
  const nodes = [member('shop', 'web', 0, 0), member('shop', 'api', 260, 0), member('data', 'db', 520, 80)]
  const map = { start: new Date().toISOString(), end: new Date().toISOString(), nodes, edges: [call(nodes[0], nodes[1]), call(nodes[1], nodes[2])] }
  await page.route(/\/api\/map\/stream/, (route) => route.fulfill({ status: 503, body: '' }))
  await page.route(/\/api\/map\?/, (route) => route.fulfill({ json: map }))
  await page.goto(`${address}/map`)
  await page.getByText('polling', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'By namespace' }).click()
  const drawing = page.getByRole('application', { name: 'Service map' })
  await drawing.focus()
  await page.keyboard.press('ArrowRight')
  await drawing.getByText(/^shop, 2 workloads\. Healthy, 10\/s/).waitFor({ state: 'attached' })
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Fold shop' }).waitFor()
  assert.equal(param(page, 'open'), 'shop')
  await look(context, 'map-namespaces')
  await page.getByRole('button', { name: 'Fold shop' }).click()
  assert.equal(param(page, 'open'), null)
  await page.keyboard.press('/')
  await page.keyboard.type('db')
  await page.keyboard.press('Enter')
  await page.getByRole('complementary', { name: 'Details' }).getByRole('heading', { name: 'data' }).waitFor()
  await page.unrouteAll()
}

/** What the page says when there is nothing, when the server has a fault, and when it is away. */
async function faults(context) {
  const { page, address } = context
  const workloads = /\/api\/workloads/
  const now = new Date().toISOString()
  await page.route(workloads, (route) => route.fulfill({ json: { start: now, end: now, workloads: [] } }))
  await page.goto(address)
  await page.getByRole('heading', { name: 'No traffic seen in this time range' }).waitFor()
  await look(context, 'empty')
  await page.unrouteAll()
  const sentence = 'the store is starting; ask again in a moment'
  await page.route(workloads, (route) => route.fulfill({ status: 503, json: { status: 'error', errorType: 'unavailable', error: sentence } }))
  await page.goto(address)
  await page.getByRole('alert').filter({ hasText: sentence }).waitFor()
  await accessible(context, 'a fault')
  await page.unrouteAll()
  await page.getByRole('button', { name: 'Try again' }).click()
  await workload(page, 'nginx').waitFor()
  await page.route(/\/api\//, (route) => route.abort())
  await page.getByRole('alert').filter({ hasText: 'does not answer' }).waitFor()
  await workload(page, 'nginx').waitFor() // what was known stays
  await page.unrouteAll()
}

/** What says that there is no cluster, before there is one. */
async function withoutCluster(context) {
  const { page, address } = context
  await page.goto(`${address}/pods`)
  await page.getByRole('heading', { name: 'Nothing tells of pods' }).waitFor()
  await accessible(context, 'no pods')
  await page.goto(`${address}/nodes`)
  await page.getByRole('heading', { name: 'No node reports' }).waitFor()
  await page.goto(`${address}/namespaces`)
  await page.getByRole('heading', { name: 'Nothing tells of namespaces' }).waitFor()
}

const region = (page, name) => page.getByRole('region', { name, exact: true })

/** A cluster of 4,000 pods: from the namespace over the map and a workload to its pods, their node and its events. */
async function cluster(context) {
  const { page, address, say } = context
  await context.cluster()
  await page.goto(`${address}/namespaces?range=15m`)
  const first = region(page, 'Namespaces').getByRole('link').first()
  await until('the namespace with most trouble is first', async () => (await first.innerText()) === 'shop')
  await look(context, 'namespaces')
  await first.click()
  await page.getByRole('heading', { name: 'shop', level: 1 }).waitFor()
  await page.getByRole('img', { name: /^Processor cores, latest: used/ }).waitFor()
  await region(page, 'Workloads').getByRole('link', { name: 'front', exact: true }).waitFor()
  await region(page, 'Events').getByText('RolloutStarted').waitFor()
  await look(context, 'namespace')

  await page.getByRole('link', { name: 'Show on the map' }).click()
  await page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)
  await page.getByRole('button', { name: 'Fold shop' }).waitFor()
  await page.goto(`${address}/map?range=15m&node=shop/StatefulSet/cart`)
  await page.getByRole('complementary', { name: 'Details' }).getByRole('link', { name: 'Open workload' }).click()
  await page.getByRole('heading', { name: 'cart', level: 1 }).waitFor()
  await page.getByRole('navigation', { name: 'Breadcrumbs' }).getByRole('link', { name: 'shop' }).waitFor()
  await look(context, 'workload-pods')
  await region(page, 'Pods').getByRole('link', { name: 'cart-0' }).click()

  await page.getByRole('heading', { name: 'cart-0', level: 1 }).waitFor()
  await page.getByText('its memory is at 96 % of its limit').waitFor()
  await page.getByText(/^it was started again (once|\d+ times), last after OOMKilled/).waitFor()
  await page.getByRole('img', { name: /^Memory, latest: used 490 MiB, requests 256 MiB, limits 512 MiB/ }).waitFor()
  await region(page, 'Containers').getByText('registry.example/cart:1.4.2').waitFor()
  await region(page, 'Events').getByText('OOMKilled').waitFor()
  await look(context, 'pod')
  await page.getByRole('link', { name: 'Node node-a' }).click()

  await page.getByRole('heading', { name: 'node-a', level: 1 }).waitFor()
  await page.getByRole('img', { name: /^Processor cores, latest: used 2.8, / }).waitFor()
  await region(page, 'Events').getByRole('link', { name: 'cart-0' }).waitFor()
  await region(page, 'Pods').getByRole('link', { name: 'front-7d9f-abcde' }).waitFor()
  await look(context, 'node')
  await page.getByRole('link', { name: 'Events', exact: true }).last().click()
  await region(page, 'Events').getByText('OOMKilled').first().waitFor()
  assert.equal(param(page, 'node'), 'node-a')

  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Nodes' }).click()
  await region(page, 'Nodes').getByText('the cluster does not hear from it').waitFor()
  await look(context, 'nodes')

  const start = performance.now()
  await page.goto(`${address}/pods?range=15m`)
  await region(page, 'Pods').getByRole('link', { name: 'checkout-5c5-kkk' }).waitFor()
  say({ note: `the page of 4,005 pods was there after ${((performance.now() - start) / 1000).toFixed(1)} s` })
  await page.getByRole('status').filter({ hasText: '4005 pods' }).waitFor()
  assert.ok(await region(page, 'Pods').getByRole('row').count() < 100, 'only rows in sight are drawn')
  await look(context, 'pods')
  await page.keyboard.press('/')
  await page.keyboard.type('job-007 worker')
  await page.getByRole('status').filter({ hasText: '20 of 4005 pods' }).waitFor()
  assert.equal(param(page, 'q'), 'job-007 worker')

  await page.keyboard.press('Control+k')
  const field = page.getByRole('combobox', { name: 'Go to' })
  await field.fill('worker-042')
  await page.getByRole('option', { name: /^worker-042 Node/ }).waitFor()
  await field.fill('checkout-5c5')
  await page.getByRole('option', { name: /^checkout-5c5-kkk Pod in shop/ }).waitFor()
  await field.press('Enter')
  await page.getByRole('heading', { name: 'checkout-5c5-kkk', level: 1 }).waitFor()
  await page.goto(`${address}/pod?range=15m&id=shop/never-there`)
  await page.getByRole('alert').filter({ hasText: 'never-there' }).waitFor()
}

/** The ways through the page, of a machine and of a cluster. */
export const ways = {
  machine: { seen, overview, map, 'workload page': detail, query, events, search, elsewhere, namespaces, faults },
  cluster: { 'without objects': withoutCluster, cluster },
}
