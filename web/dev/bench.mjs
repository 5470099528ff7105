// Measures the budgets of the page: first paint of the map with 1,000 workloads and 3,000 edges, and frames a second while it is panned and
// zoomed. `npm run bench` after `npm run build`; prints one JSON object, and ends with 1 where a budget is missed.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { preview } from 'vite'

const RUNS = 3
const BUDGET = { firstPaintMs: 1000, framesPerSecond: 50 }
const SIZE = { width: 1440, height: 900 }
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

process.env.VETCH_FIXTURE ??= '1000x3000'
const server = await preview({ preview: { port: 0, host: '127.0.0.1' }, logLevel: 'silent' })
const address = server.resolvedUrls.local[0]
const profile = mkdtempSync(join(tmpdir(), 'vetch-bench-'))
const browser = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: FLAGS, viewport: SIZE })

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]

/** Milliseconds from navigation to the first picture of the map, with an empty cache. */
async function firstPaint() {
  const page = await browser.newPage()
  const session = await browser.newCDPSession(page)
  await session.send('Network.clearBrowserCache')
  await page.goto(`${address}map`)
  const ms = await page.waitForFunction(() => performance.getEntriesByName('map-painted')[0]?.startTime, null, { timeout: 20_000 })
  const value = await ms.jsonValue()
  await page.close()
  return value
}

/** Counts animation frames while `act` runs. */
async function frames(page, act) {
  await page.evaluate(() => {
    const times = (window.frameTimes = [])
    const tick = (now) => {
      times.push(now)
      window.frameLoop = requestAnimationFrame(tick)
    }
    window.frameLoop = requestAnimationFrame(tick)
  })
  await act()
  const gaps = await page.evaluate(() => {
    cancelAnimationFrame(window.frameLoop)
    return window.frameTimes.slice(1).map((t, i) => t - window.frameTimes[i])
  })
  const total = gaps.reduce((a, b) => a + b, 0)
  const sorted = [...gaps].sort((a, b) => a - b)
  return { framesPerSecond: Math.round((gaps.length / total) * 10_000) / 10, p95FrameMs: Math.round(sorted[Math.floor(gaps.length * 0.95)] * 10) / 10 }
}

async function pan(page) {
  const [x, y] = [SIZE.width / 2, SIZE.height / 2]
  await page.mouse.move(x, y)
  await page.mouse.down()
  const end = Date.now() + 3000
  for (let i = 0; Date.now() < end; i++) await page.mouse.move(x + 260 * Math.sin(i / 25), y + 160 * Math.cos(i / 25))
  await page.mouse.up()
}

async function zoom(page, inward) {
  await page.mouse.move(SIZE.width / 2, SIZE.height / 2)
  const end = Date.now() + 3000
  for (let i = 0; Date.now() < end; i++) {
    await page.mouse.wheel(0, (Math.floor(i / 25) % 2 === 0) === inward ? -40 : 40)
    await page.waitForTimeout(8)
  }
}

const result = { fixture: process.env.VETCH_FIXTURE, firstPaintMs: 0, moves: {} }
const missed = []
try {
  const paints = []
  for (let i = 0; i < RUNS; i++) paints.push(await firstPaint())
  result.firstPaintMs = Math.round(median(paints))
  const page = await browser.newPage()
  await page.goto(`${address}map`)
  await page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)
  result.moves['pan, all in sight'] = await frames(page, () => pan(page))
  result.moves['zoom, all in sight'] = await frames(page, () => zoom(page, true))
  await page.keyboard.press('Escape')
  for (const scale of [0.4, 0.8]) {
    await page.goto(`${address}map?view=3000,1500,${scale}`)
    await page.waitForFunction(() => performance.getEntriesByName('map-painted').length > 0)
    result.moves[`pan at scale ${scale}`] = await frames(page, () => pan(page))
  }
  if (result.firstPaintMs > BUDGET.firstPaintMs) missed.push('firstPaintMs')
  for (const [name, { framesPerSecond }] of Object.entries(result.moves)) if (framesPerSecond < BUDGET.framesPerSecond) missed.push(name)
} finally {
  await browser.close()
  await server.close()
  rmSync(profile, { recursive: true, force: true })
}
console.log(JSON.stringify({ ...result, missed }, null, 2))
process.exit(missed.length > 0 ? 1 : 0)
