// Walks through the page of the server in the cluster: node browse.mjs WALK ADDRESS PICTURES, with the password in TOKEN. Ends with 1 and says what was wrong.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(new URL('../../web/package.json', import.meta.url))
const { chromium } = require('playwright-core')

const [walk, address, pictures] = process.argv.slice(2)
const profile = mkdtempSync(join(tmpdir(), 'vetch-browse-'))
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', viewport: { width: 1440, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  ignoreHTTPSErrors: true, // the release's own authority signed it, and the name is another here
  httpCredentials: { username: 'walk', password: process.env.TOKEN },
})
browser.setDefaultTimeout(60_000)
const page = browser.pages()[0] ?? (await browser.newPage())
const wrong = []
page.on('pageerror', (error) => wrong.push(`the page threw: ${error.stack}`))

/** Pictures in both themes. */
const take = async (name) => {
  await page.mouse.move(0, 0)
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme })
    await page.waitForTimeout(300) // a frame or two for the canvases
    await page.screenshot({ path: join(pictures, `${name}${scheme === 'dark' ? '-dark' : ''}.png`) })
  }
  await page.emulateMedia({ colorScheme: 'light' })
}
const region = (name) => page.getByRole('region', { name, exact: true })
const rowOf = (table, ...texts) => texts.reduce((rows, text) => rows.filter({ hasText: text }), region(table).getByRole('row')).first()
const chart = (name) => page.locator('section').filter({ has: page.getByRole('heading', { name, exact: true }) })
const heading = (name) => page.getByRole('heading', { name, level: 1 }).waitFor()
const painted = () => page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)

/** All pages that the bar at the top leads to, with the shop of the cluster on them. */
async function pages() {
  await page.goto(address)
  const listed = page.getByRole('region', { name: 'Workloads' })
  for (const name of ['front', 'catalog', 'cart', 'postgres', 'redis']) await listed.getByRole('link', { name, exact: true }).first().waitFor()
  await take('overview')
  const bar = page.getByRole('navigation', { name: 'Pages' })
  const names = await bar.getByRole('link').allInnerTexts()
  assert.ok(names.length >= 3, `only ${names} in the bar`)
  for (const name of names) {
    await bar.getByRole('link', { name, exact: true }).click()
    await page.waitForLoadState('load')
    await page.waitForTimeout(2000) // live pages never fall silent
    await take(`page-${name.toLowerCase()}`)
  }
}

/** The answer of an endpoint of the API as JSON. */
const asked = async (path) => (await page.request.get(address + path)).json()

/** What a fact at the top of a page says. */
const fact = (name) => page.locator('dl > div').filter({ has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) }).locator('dd').innerText()

/** The map by namespace, opened by its search, and a workload of it. */
async function mapOfShop() {
  const { nodes } = await asked('/api/map?start=-15m')
  for (const [kind, name] of [['Deployment', 'front'], ['Deployment', 'catalog'], ['StatefulSet', 'cart'], ['StatefulSet', 'postgres'], ['StatefulSet', 'redis']])
    assert.equal(nodes.filter((n) => n.namespace === 'shop' && n.kind === kind && n.name === name).length, 1, name)
  await page.goto(`${address}/map?range=15m`)
  await painted()
  await page.getByRole('button', { name: 'By namespace' }).click()
  const search = page.getByRole('searchbox', { name: 'Search the map' })
  await search.fill('shop')
  await search.press('Enter')
  const panel = page.getByRole('complementary', { name: 'Details' })
  await panel.getByRole('heading', { name: 'shop' }).waitFor()
  for (const name of ['front', 'catalog', 'cart']) await panel.getByRole('button', { name, exact: true }).first().waitFor()
  await search.fill('')
  await take('map-namespaces')
  await panel.getByRole('button', { name: 'Unfold' }).click()
  await page.getByRole('button', { name: 'Fold shop' }).waitFor()
  await search.fill('catalog')
  await search.press('Enter')
  await panel.getByRole('heading', { name: 'catalog' }).waitFor()
  await search.fill('')
  for (const name of ['front', 'postgres']) await panel.getByRole('button', { name, exact: true }).first().waitFor()
  await take('map-catalog')
  await panel.getByRole('link', { name: 'Open workload' }).click()
}

/** From the map by a workload and one of its pods to its node, and back to what happened, by clicks only. */
async function path() {
  await mapOfShop()
  await heading('catalog')
  await region('Callers').getByRole('link', { name: 'front' }).first().waitFor()
  await region('Callees').getByRole('link', { name: 'postgres' }).first().waitFor()
  await take('workload-catalog')

  const pod = region('Pods').getByRole('link', { name: /^catalog-/ }).first()
  const name = await pod.innerText()
  await pod.click()
  await heading(name)
  await rowOf('Containers', 'catalog', 'running').waitFor()
  const { pod: told } = await asked(`/api/pod?id=${encodeURIComponent(`shop/${name}`)}&start=-15m`)
  assert.deepEqual([await fact('Status'), await fact('Ready'), await fact('Address')], ['Running', '1 of 1', told.ip])
  for (const title of ['Processor, cores', 'Memory']) await chart(title).getByRole('button', { name: /^used [\d.<]/ }).waitFor()
  await rowOf('Events', 'Started').waitFor()
  await take('pod-catalog')

  await page.getByRole('link', { name: `Node ${told.node}` }).click()
  await heading(told.node)
  for (const what of ['Processor', 'Memory', 'Cores requested', 'Memory requested', 'Pods']) assert.match(await fact(what), /^[<\d.]+( \wi?B)? of [\d.]+/, what)
  for (const line of ['used', 'requests', 'capacity']) await chart('Processor, cores').getByRole('button', { name: new RegExp(`^${line} [\\d.<]`) }).waitFor()
  await region('Pods').getByRole('link', { name }).waitFor()
  await region('Pods').getByRole('link', { name: /^vetch-agent-/ }).waitFor()
  await take(`node-${told.node}`)
}

/** The page of events lists some of these. They are asked for, for a table draws only the rows in sight. */
async function told(filter) {
  await page.goto(`${address}/events?${new URLSearchParams({ ...filter, range: '15m' })}`)
  await rowOf('Events', filter.reason).waitFor()
}

/** What is in trouble says so: a pod that crashes again and again, and a rollout across the charts and in the list of events. */
async function trouble() {
  await page.goto(address)
  const bar = page.getByRole('navigation', { name: 'Pages' })
  await bar.getByRole('link', { name: 'Pods' }).click()
  const crashing = region('Pods').getByRole('link', { name: /^crash-/ }).first()
  await rowOf('Pods', 'crash-', '(+').waitFor() // restarts; between two of them it waits, or has just ended
  await take('pods-trouble')
  await crashing.click()
  await chart('Restarts').waitFor()
  await rowOf('Events', 'BackOff').waitFor()
  await take('pod-crash')
  await bar.getByRole('link', { name: 'Namespaces' }).click()
  await region('Namespaces').getByRole('link', { name: 'trouble' }).click()
  await heading('trouble')
  await take('namespace-trouble')
  await bar.getByRole('link', { name: 'Events' }).click()
  await page.getByRole('row').nth(3).waitFor()
  await take('events')
  for (const reason of ['OOMKilled', 'Unhealthy', 'RolloutStarted']) await told({ reason, namespace: 'trouble' })
}

/** A node that was away is told of on its page. */
async function outage() {
  await page.goto(address)
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Nodes' }).click()
  await region('Nodes').getByRole('link', { name: 'node2' }).click()
  await heading('node2')
  await take('node-outage')
  await told({ reason: 'NodeNotReady', node: 'node2' })
}

let code = 0
try {
  await { pages, path, trouble, outage }[walk]()
  assert.deepEqual(wrong, [])
} catch (error) {
  await page.screenshot({ path: join(pictures, `failed-${walk}.png`) }).catch(() => {})
  console.error(`at ${page.url()}: ${error.stack}`)
  code = 1
}
await browser.close().catch(() => {})
rmSync(profile, { recursive: true, force: true })
process.exit(code)
