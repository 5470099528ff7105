// The browser's side of the tests: node walk.mjs ADDRESS PICTURES WAY. Says {"at"}, {"note"} or {"wrong"} as one JSON object a line.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ways } from './steps.mjs'

const require = createRequire(new URL('../../web/package.json', import.meta.url))
const { chromium } = require('playwright-core')

const [address, pictures, way] = process.argv.slice(2)
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`)

const profile = mkdtempSync(join(tmpdir(), 'vetch-walk-'))
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, viewport: { width: 1440, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce',
})
browser.setDefaultTimeout(60_000)
const input = createInterface({ input: process.stdin })
const end = async (code) => {
  await browser.close().catch(() => {})
  rmSync(profile, { recursive: true, force: true })
  process.exit(code)
}
process.on('SIGINT', () => void end(130))

const page = browser.pages()[0] ?? (await browser.newPage())
page.on('console', (m) => m.type() === 'error' && !expected(m.text()) && say({ wrong: `the page's console: ${m.text()}` }))
page.on('pageerror', (error) => say({ wrong: `the page threw: ${error.stack}` }))
page.on('request', (r) => r.url().startsWith(address) || /^(data|blob):/.test(r.url()) || say({ wrong: `the page asked another host: ${r.url()}` }))
/** Chromium writes failed requests to the console; the walk makes some fail on purpose. */
const expected = (text) => /^Failed to load resource/.test(text)

/** Says where the walk is, and waits until the test goes on. */
async function at(place) {
  say({ at: place })
  await once(input, 'line')
}

const context = {
  page, address, pictures, require, say,
  /** Resolves when the test has started the traffic. */
  traffic: () => at('open'),
  /** Resolves when vetch was told of a cluster. */
  cluster: () => at('objects'),
}
try {
  for (const [name, step] of Object.entries(ways[way])) {
    const start = performance.now()
    await step(context)
    say({ note: `${name}: ${((performance.now() - start) / 1000).toFixed(1)} s` })
  }
  say({ at: 'done' })
  await end(0)
} catch (error) {
  await page.screenshot({ path: join(pictures, 'failed.png') }).catch(() => {})
  say({ wrong: `at ${page.url()}: ${error.stack}` })
  await end(1)
}
