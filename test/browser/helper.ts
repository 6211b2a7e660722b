import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { deferred } from '../helper.ts'
import { PATIENCE_MS, recordUpstream, requireFile, startServer, type Exchange, type ReferenceServer } from '../interop/helper.ts'

/** Debian's browser: nothing is downloaded for a test. */
const executablePath = '/usr/bin/chromium'

/** No sandbox, for CI runs as root; no requests of the browser's own. */
const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'
]

/** Starts the browser, for all tests of a file. */
export async function startBrowser (t: Test): Promise<Browser> {
  requireFile(executablePath, 'chromium')
  const browser = await chromium.launch({ executablePath, args })
  t.teardown(() => browser.close())
  return browser
}

/** The reference server's page, and what its browser told of it. */
export interface Playground {
  readonly page: Page
  readonly sse: Pane
  readonly ws: Pane
  /** Errors and warnings of the console, and errors that nobody caught. */
  readonly complaints: string[]
  /** Address of every request and WebSocket. */
  readonly requests: string[]
  /** What the Content-Security-Policy refused. */
  violations (): Promise<string[]>
  /** Asks with the keyboard. */
  ask (prompt: string, model?: string): Promise<void>
}

/** One pane of the page. */
export interface Pane {
  readonly root: Locator
  readonly answer: Locator
  /** Waits until the answer has a text. */
  shows (text: string): Promise<void>
  /** Waits until the answer has ended, in one of the ways `whole`, `stopped` and `failed`. */
  ends (kind: string): Promise<void>
  /** States of the connection, in order. */
  states (): Promise<string[]>
}

/** Notes what a page would not tell later: refusals of its policy, and states that a connection was in only for a moment. */
const notes = `
  window.violations = []
  window.states = { sse: [], ws: [] }
  addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => violations.push(violatedDirective + ' ' + blockedURI))
  addEventListener('DOMContentLoaded', () => new MutationObserver((records) => {
    for (const { target } of records) {
      const series = target.closest('.pane')?.dataset.series
      if (target.matches('.connection') && states[series].at(-1) !== target.dataset.state) states[series].push(target.dataset.state)
    }
  }).observe(document.querySelector('#panes'), { subtree: true, attributes: true, attributeFilter: ['data-state'] }))
`

/** Opens the playground in a tab of its own. */
export async function openPlayground (t: Test, browser: Browser, { url }: Pick<ReferenceServer, 'url'>, options: BrowserContextOptions = {}): Promise<Playground> {
  const context = await browser.newContext(options)
  t.teardown(() => context.close())
  context.setDefaultTimeout(PATIENCE_MS)
  await context.addInitScript(notes)
  const page = await context.newPage()
  const { complaints, requests } = watchPage(page)
  await page.goto(url)
  await page.locator('.pane[data-series=ws] .connection[data-state=open]').waitFor()
  return {
    page,
    sse: paneOf(page, 'sse'),
    ws: paneOf(page, 'ws'),
    complaints,
    requests,
    violations: () => page.evaluate('violations'),
    ask: (prompt, model) => ask(page, prompt, model)
  }
}

function watchPage (page: Page): Pick<Playground, 'complaints' | 'requests'> {
  const complaints: string[] = []
  const requests: string[] = []
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()) })
  page.on('pageerror', (error) => { complaints.push(String(error.stack)) })
  page.on('request', (request) => { requests.push(request.url()) })
  page.on('websocket', (socket) => { requests.push(socket.url()) })
  return { complaints, requests }
}

function paneOf (page: Page, series: 'sse' | 'ws'): Pane {
  const root = page.locator(`.pane[data-series=${series}]`)
  const answer = root.locator('.answer')
  return {
    root,
    answer,
    shows: (text) => answer.filter({ hasText: text }).waitFor(),
    ends: (kind) => root.locator(`.outcome[data-kind=${kind}]`).waitFor(),
    states: () => page.evaluate(`states.${series}`)
  }
}

async function ask (page: Page, prompt: string, model?: string): Promise<void> {
  if (model !== undefined) await page.getByLabel('Model').fill(model)
  await page.getByLabel('Your question').fill(prompt)
  await page.getByLabel('Your question').press('Enter')
}

/** The playground on a server whose upstream the test answers itself. */
export interface Stage extends Playground {
  readonly server: ReferenceServer
  /** Asks, and takes both requests to the upstream. */
  begin (prompt: string): Promise<Exchange[]>
}

/** Starts an upstream, a server that asks it, and the page. */
export async function openStage (t: Test, browser: Browser): Promise<Stage> {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const playground = await openPlayground(t, browser, server)
  const begin = async (prompt: string): Promise<Exchange[]> => {
    await playground.ask(prompt)
    const exchanges = [await upstream.next(), await upstream.next()]
    for (const exchange of exchanges) exchange.open()
    return exchanges
  }
  return { ...playground, server, begin }
}

/**
 * Keeps a page from going on with an answer that was cut, so that there is time to look at it.
 * @returns Lets it.
 */
export async function holdResume (page: Page): Promise<() => void> {
  const held = deferred()
  await page.route('**/api/streams/**', async (route) => {
    if (route.request().method() === 'GET') await held.promise
    // Whoever has left meanwhile goes on with nothing.
    await route.continue().catch(() => {})
  })
  return () => held.resolve()
}

/** Waits for a text of a page that changes by itself. */
export async function untilText (locator: Locator, pattern: RegExp): Promise<string> {
  let text = ''
  const end = performance.now() + PATIENCE_MS
  while (!pattern.test(text)) {
    if (performance.now() > end) throw new Error(`waited in vain for ${pattern}; it says: ${text}`)
    text = await locator.innerText()
  }
  return text
}
