import { build } from 'esbuild'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { StreamEvent } from '../../lib/index.ts'
import { createUpstream, type EmbeddedUpstream } from '../../lib/testing/index.ts'
import { PATIENCE_MS } from '../interop/helper.ts'
import { TextReader, post, root, startProgram } from '../program.ts'
import { openPage, type OpenPage } from './chromium.ts'
import { namesIn, readBlocks, readPage, readTables } from './markdown.ts'

t.setTimeout(300_000)

const page = 'docs/ai-sdk.md'
const key = 'sk-of-the-ai-sdk'
const blocks = readBlocks(page)

// Inside the repository, so that programs that import the package by its name get what was built of it.
const folder = mkdtempSync(`${root}test/docs/.tmp-`)
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

function codeOf (heading: string): string {
  return blocks.find((block) => block.heading === heading)?.code ?? ''
}

/** What would harm a page that takes it for HTML. */
const text = 'Xin chào 🌸 <img src=x onerror="document.title = 1"> <b>bold</b>\nnew line. Hết'

const scenarios: Readonly<Record<string, object>> = { endless: { text: 'on and on', tokens: Infinity }, cut: { text, cutAfter: 3 } }

/** Runs a program of the page, with an upstream that does what it is asked for. */
async function startRoute (t: Test, heading: string): Promise<{ address: string, upstream: EmbeddedUpstream }> {
  const upstream = await createUpstream({
    tokensPerSecond: 100, apiKey: key, scenario: ({ messages }) => scenarios[String(messages?.at(-1)?.content)] ?? { text, tokensPerSecond: 0 }
  })
  t.teardown(() => upstream.close())
  const file = `${folder}/${heading.replaceAll(' ', '-')}.mjs`
  writeFileSync(file, `${codeOf(heading)}\n`)
  const { address } = startProgram(t, [file], { LLM_BASE_URL: upstream.baseUrl, LLM_API_KEY: key, PORT: '0' })
  return { address: await address, upstream }
}

/** The component of the page, the AI SDK and React, for the browser. */
async function bundlePage (): Promise<string> {
  writeFileSync(`${folder}/chat.jsx`, codeOf('The page'))
  writeFileSync(`${folder}/entry.jsx`, "import { createRoot } from 'react-dom/client'\nimport { Chat } from './chat.jsx'\ncreateRoot(document.querySelector('main')).render(<Chat />)\n")
  const { outputFiles } = await build({
    absWorkingDir: root, entryPoints: [`${folder}/entry.jsx`], bundle: true, format: 'esm', write: false, logLevel: 'silent', jsx: 'automatic', define: { 'process.env.NODE_ENV': '"development"' }
  })
  return outputFiles[0]?.text ?? ''
}

/** The page in a browser, at the address of its route. */
async function openChat (t: Test, address: string): Promise<OpenPage> {
  const html = '<!doctype html><title>Chat</title><main></main><script type="module" src="/app.js"></script>'
  return await openPage(t, address, {
    '/': { contentType: 'text/html; charset=utf-8', body: html },
    '/app.js': { contentType: 'text/javascript; charset=utf-8', body: await bundlePage() },
    '/favicon.ico': { contentType: 'image/x-icon', body: '' }
  })
}

t.test('the route and the page', async (t) => {
  const { address, upstream } = await startRoute(t, 'The route')
  const { page, requests, complaints } = await openChat(t, address)
  const ask = async (prompt: string): Promise<void> => {
    await page.fill('input[name=prompt]', prompt)
    await page.click('text="Ask"')
  }
  const untilStatus = (status: string): Promise<void> => page.locator('[role=status]', { hasText: status }).waitFor()
  const answer = (): Promise<string | null> => page.locator('p.assistant').last().textContent()

  await t.test('show an answer as text', async (t) => {
    await ask('Hello')
    await page.locator('p.assistant', { hasText: 'Hết' }).waitFor()
    await untilStatus('ready')

    t.equal(await answer(), text)
    t.equal(await page.$('p.assistant > *'), null, 'the answer is text, not HTML')
    t.match(upstream.requests[0]?.body, { model: 'gpt-4.1', messages: [{ role: 'system', content: 'Answer briefly.' }, { role: 'user', content: 'Hello' }] })
  })

  await t.test('say of a cut answer that it is not whole, and go on', async (t) => {
    await ask('cut')
    await page.locator('[role=alert]', { hasText: 'Not whole: The upstream' }).waitFor()
    t.equal(await answer(), 'Xin chào 🌸')
    await page.click('text="Again"')
    await upstream.waitFor(({ requests }) => requests.length === 3, { timeoutMs: PATIENCE_MS })
    await untilStatus('error')
    t.match(upstream.requests.at(-1)?.body, { messages: [{ role: 'system' }, { content: 'Hello' }, { role: 'assistant', content: text }, { content: 'cut' }] })
  })

  await t.test('stop the upstream when the answer is stopped, and when the page is left', async (t) => {
    await ask('endless')
    await page.locator('p.assistant', { hasText: 'on and on' }).waitFor()
    await page.click('text="Stop"')
    await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
    await untilStatus('ready')
    t.equal(upstream.requests.at(-1)?.state, 'closed-by-client')

    await ask('endless')
    await upstream.waitFor(({ open }) => open === 1, { timeoutMs: PATIENCE_MS })
    await page.goto('about:blank')
    await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
  })

  t.same(requests.filter((url) => url !== 'about:blank' && !url.startsWith(`${address}/`)), [], 'no host of others was asked')
  t.same(complaints, [], 'and nothing went wrong unseen')
})

t.test('a page comes back to its answer, and stops it', async (t) => {
  const { address, upstream } = await startRoute(t, 'Come back to an answer')
  const headers = { authorization: 'Bearer sk-of-a-page' }
  const messages = [{ id: 'm', role: 'user', parts: [{ type: 'text', text: 'endless' }] }]
  const live = new TextReader(await post(`${address}/api/chat`, { id: 'chat-1', messages }, { headers }))
  await live.until((text) => text.includes('text-delta'))
  await live.leave()
  const come = (id: string, init?: RequestInit): Promise<Response> => fetch(`${address}/api/chat/${id}/stream`, init)

  t.equal((await come('chat-2', { headers })).status, 204)
  t.equal((await come('chat-1')).status, 204, 'of another key it is another chat')
  const resumed = new TextReader(await come('chat-1', { headers }))
  t.match(await resumed.until((text) => text.includes('text-delta')), 'data: {"type":"start"}')
  t.equal((await fetch(`${address}/api/chat/chat-1`, { method: 'DELETE', headers })).status, 204)
  await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
  t.match(await resumed.until((text) => text.includes('[DONE]')), 'data: {"type":"abort","reason":"stop"}')
  t.equal((await come('chat-1', { headers })).status, 204)
  t.equal(upstream.requests.length, 1)
})

t.test('every block has a test', async (t) => {
  t.same(blocks.map(({ heading, kind }) => `${heading} ${kind}`), ['The route js', 'The page jsx', 'Come back to an answer js'])
})

t.test('the table of chunks names the events', async (t) => {
  const names = readTables(page).find(({ heading }) => heading === 'What is sent')?.rows.flatMap((row) => namesIn(row.Event)) ?? []

  t.same([...names].sort(), StreamEvent.anyOf.map(({ properties }) => properties.type.const).sort())
})

t.test('the versions that are named are those that are tried', async (t) => {
  const { version } = JSON.parse(readFileSync(`${root}node_modules/ai/package.json`, 'utf8'))

  t.match(readPage(page), version)
})
