import { build, type BuildOptions } from 'esbuild'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import llmStream from '../../lib/index.ts'
import { createUpstream, type EmbeddedUpstream } from '../../lib/testing/index.ts'
import { PATIENCE_MS } from '../interop/helper.ts'
import { root } from '../program.ts'
import { openPage, type OpenPage } from './chromium.ts'
import { readBlocks } from './markdown.ts'

t.setTimeout(300_000)

/** What would harm a page that takes it for HTML. */
const text = 'Xin chào 🌸 <img src=x onerror="document.title = 1"> <b>bold</b>\nnew line. Hết'

/** The page's snippet of a kind, of which there is one. */
function blockOf (kind: string): string {
  return readBlocks('docs/client.md').find((block) => block.kind === kind)?.code ?? ''
}

/** Bundles for the browser. */
async function bundle (options: BuildOptions): Promise<string> {
  const { outputFiles } = await build({ absWorkingDir: root, bundle: true, format: 'esm', write: false, logLevel: 'silent', ...options })
  return outputFiles?.[0]?.text ?? ''
}

/** A page in a browser, served by an app that has the plugin's routes beside it. */
interface Scene extends OpenPage {
  readonly upstream: EmbeddedUpstream
  readonly address: string
}

/** @param scripts By their path. */
async function openApp (t: Test, html: string, scripts: Readonly<Record<string, string>>): Promise<Scene> {
  const upstream = await createUpstream({ tokensPerSecond: 100, scenario: ({ messages }) => scenarioOf(String(messages?.at(-1)?.content)) })
  t.teardown(() => upstream.close())
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: { baseUrl: upstream.baseUrl, retry: 0 } })
  app.post('/api/events', { stream: { format: 'events' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body as object)))
  servePage(app, html, scripts)
  const address = await app.listen()
  return { ...await openPage(t, address), upstream, address }
}

/** What the upstream does goes by what it is asked. */
function scenarioOf (prompt: string): object {
  if (prompt === 'endless') return { text: 'on and on', tokens: Infinity }
  if (prompt === 'cut') return { text, cutAfter: 3 }
  return { text, tokensPerSecond: 0 }
}

function servePage (app: FastifyInstance, html: string, scripts: Readonly<Record<string, string>>): void {
  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(html))
  app.get('/favicon.ico', (_request, reply) => reply.code(204).send())
  for (const [path, script] of Object.entries(scripts)) {
    app.get(path, (_request, reply) => reply.type('text/javascript; charset=utf-8').send(script))
  }
}

async function ask ({ page }: Scene, prompt: string): Promise<void> {
  await page.fill('input[name=prompt]', prompt)
  await page.click('text="Ask"')
}

/** Waits until what the page says of itself is so. */
async function untilStatus ({ page }: Scene, status: string): Promise<void> {
  await page.locator('[role=status]', { hasText: status }).waitFor()
}

/** Waits until some text of an answer is on the page. */
async function untilText ({ page }: Scene, text: string): Promise<void> {
  await page.locator('p', { hasText: text }).first().waitFor()
}

async function checkAnswers (t: Test, scene: Scene, done: string): Promise<void> {
  const { page } = scene
  await ask(scene, 'Hello')
  await untilStatus(scene, done)
  t.equal(await page.textContent('p'), text)
  t.equal(await page.$('p > *'), null, 'the answer is text, not HTML')

  await ask(scene, 'cut')
  await untilStatus(scene, 'Not whole: The upstream')
  t.equal(await page.textContent('p'), 'Xin chào 🌸')
}

async function checkStop (t: Test, scene: Scene, stopped: string): Promise<void> {
  const { page, upstream } = scene
  await ask(scene, 'endless')
  await untilText(scene, 'on and on')
  await page.click('text="Stop"')
  await untilStatus(scene, stopped)
  await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
  t.equal(upstream.requests.at(-1)?.state, 'closed-by-client')
}

/** No host of others was asked, and nothing went wrong unseen. */
function checkQuiet (t: Test, { requests, complaints, address }: Scene): void {
  t.same(requests.filter((url) => url !== 'about:blank' && !url.startsWith(`${address}/`)), [])
  t.same(complaints, [])
}

t.test('the page of plain HTML', async (t) => {
  const client = await bundle({ entryPoints: ['fastify-llm-stream/client'], minify: true })
  const scene = await openApp(t, blockOf('html'), { '/llm-client.js': client })

  await t.test('shows an answer as text, and says of a cut one that it is not whole', (t) => checkAnswers(t, scene, 'Done'))

  await t.test('stops an answer, and can ask again', async (t) => {
    await checkStop(t, scene, 'Stopped')
    t.ok(await scene.page.isDisabled('text="Stop"'))
    await ask(scene, 'Hello')
    await untilStatus(scene, 'Done')
    t.equal(await scene.page.textContent('p'), text)
  })

  await t.test('stops what runs when it is left', async (t) => {
    await ask(scene, 'endless')
    await untilText(scene, 'on and on')
    await scene.page.goto('about:blank')
    await scene.upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
    t.equal(scene.upstream.requests.at(-1)?.state, 'closed-by-client')
  })

  checkQuiet(t, scene)
})

/** Mounts the component, and counts each state that is set, also after the unmount. */
const entry = `
import React from 'react'
import { createRoot } from 'react-dom/client'
import { Chat } from './chat.jsx'

const { useState } = React
window.updates = 0
React.useState = (initial) => {
  const [state, set] = useState(initial)
  return [state, (next) => {
    window.updates++
    set(next)
  }]
}

const root = createRoot(document.querySelector('main'))
const chat = <React.StrictMode><Chat /></React.StrictMode>
window.show = () => root.render(chat)
window.hide = () => root.render(null)
window.show()
`

/** The hook as the page has it, its component, and React, for the browser. */
async function bundleReact (t: Test): Promise<string> {
  const folder = mkdtempSync(`${root}test/docs/.tmp-`)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const hook = readBlocks('docs/client.md').find(({ kind, heading }) => kind === 'js' && heading === 'React')?.code ?? ''
  writeFileSync(`${folder}/use-chat.js`, hook)
  writeFileSync(`${folder}/chat.jsx`, blockOf('jsx'))
  writeFileSync(`${folder}/entry.jsx`, entry)
  // Not minified: React says what is wrong only in development.
  return await bundle({ entryPoints: [`${folder}/entry.jsx`], jsx: 'automatic', define: { 'process.env.NODE_ENV': '"development"' } })
}

t.test('the React component', async (t) => {
  const scene = await openApp(t, '<!doctype html><title>Chat</title><main></main><script type="module" src="/app.js"></script>', { '/app.js': await bundleReact(t) })
  const { page, upstream } = scene

  await t.test('is idle until it is asked, in StrictMode', async (t) => {
    await untilStatus(scene, 'idle')
    t.equal(upstream.requests.length, 0)
  })

  await t.test('shows an answer as text, and says of a cut one that it is not whole', (t) => checkAnswers(t, scene, 'done'))

  await t.test('stops an answer', (t) => checkStop(t, scene, 'stopped'))

  await t.test('stops the running answer when another is asked for, and shows nothing more of it', async (t) => {
    await ask(scene, 'endless')
    await untilText(scene, 'on and on')
    await ask(scene, 'Hello')
    await untilStatus(scene, 'done')
    await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
    t.equal(upstream.requests.at(-2)?.state, 'closed-by-client')
    t.equal(await page.textContent('p'), text)
  })

  await t.test('stops what runs when it is unmounted, and sets no state any more', async (t) => {
    await ask(scene, 'endless')
    await untilText(scene, 'on and on')
    // React takes the component away in a turn of its own, which the paragraph's end tells.
    await page.evaluate('window.hide()')
    await page.waitForSelector('p', { state: 'detached' })
    const updates = await page.evaluate('window.updates')
    await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
    t.equal(await page.evaluate('window.updates'), updates)

    await page.evaluate('window.show()')
    await ask(scene, 'Hello')
    await untilStatus(scene, 'done')
    t.equal(await page.textContent('p'), text)
  })

  checkQuiet(t, scene)
})
