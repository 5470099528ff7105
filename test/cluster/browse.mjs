// Walks through the page of the server in the cluster: node browse.mjs ADDRESS PICTURES, with the password in TOKEN. Ends with 1 and says what was wrong.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(new URL('../../web/package.json', import.meta.url))
const { chromium } = require('playwright-core')

const [address, pictures] = process.argv.slice(2)
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

const take = async (name) => {
  await page.mouse.move(0, 0)
  await page.waitForTimeout(300) // a frame or two for the canvases
  await page.screenshot({ path: join(pictures, `${name}.png`) })
}

/** All pages that the bar at the top leads to, with the shop of the cluster on them. */
async function everyPage() {
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

/** From the map by the panel of a workload to its page, and to those of its pods and nodes where there are links to them. */
async function fromMap() {
  const { nodes } = await (await page.request.get(`${address}/api/map?start=-15m`)).json()
  const node = nodes.find((n) => n.namespace === 'shop' && n.kind === 'Deployment' && n.name === 'catalog')
  assert.ok(node, 'the catalog is on the map')
  for (const [kind, name] of [['Deployment', 'front'], ['StatefulSet', 'cart'], ['StatefulSet', 'postgres'], ['StatefulSet', 'redis']])
    assert.equal(nodes.filter((n) => n.namespace === 'shop' && n.kind === kind && n.name === name).length, 1, name)
  await page.goto(`${address}/map?node=${encodeURIComponent(node.id)}`)
  await page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)
  const panel = page.getByRole('complementary', { name: 'Details' })
  await panel.getByRole('heading', { name: 'catalog' }).waitFor()
  for (const name of ['front', 'postgres']) await panel.getByRole('button', { name, exact: true }).first().waitFor()
  await take('map-catalog')
  await panel.getByRole('link', { name: 'Open workload' }).click()
  await page.getByRole('heading', { name: 'catalog', level: 1 }).waitFor()
  await page.getByRole('region', { name: 'Callers' }).getByRole('link', { name: 'front' }).first().waitFor()
  await page.getByRole('region', { name: 'Callees' }).getByRole('link', { name: 'postgres' }).first().waitFor()
  await take('workload-catalog')
}

let code = 0
try {
  await everyPage()
  await fromMap()
  assert.deepEqual(wrong, [])
} catch (error) {
  await page.screenshot({ path: join(pictures, 'failed.png') }).catch(() => {})
  console.error(`at ${page.url()}: ${error.stack}`)
  code = 1
}
await browser.close().catch(() => {})
rmSync(profile, { recursive: true, force: true })
process.exit(code)
