import t from 'tap'
import { soon } from '../helper.ts'
import { ABORT_MS, PATIENCE_MS, startServer } from '../interop/helper.ts'
import { holdResume, openPlayground, openStage, startBrowser, untilText } from './helper.ts'

t.setTimeout(300_000)

const browser = await startBrowser(t)
const shared = await startServer(t)

t.test('both panes grow while the answer streams, token by token', async (t) => {
  const { begin, sse, ws, page } = await openStage(t, browser)
  const exchanges = await begin('Count')

  // The next one is not said before the one before it is seen: a token that is held back never comes.
  for (const token of ['one', 'two', 'three', 'four', 'five']) {
    for (const exchange of exchanges) exchange.text(`${token} `)
    await Promise.all([sse.shows(token), ws.shows(token)])
  }
  t.equal(await page.getByRole('button', { name: 'Stop' }).isEnabled(), true)
  for (const exchange of exchanges) exchange.finish()
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  t.equal(await sse.answer.innerText(), 'one two three four five')
  t.equal(await ws.answer.innerText(), 'one two three four five')
  t.equal(await page.getByRole('button', { name: 'Stop' }).isDisabled(), true)
})

t.test('one question asks both transports for the same, with system prompt, model and temperature', async (t) => {
  const { begin, page } = await openStage(t, browser)
  await page.getByText('Options', { exact: true }).click()
  await page.getByLabel('System prompt').fill('Be brief.')
  await page.getByLabel('Temperature').fill('0.3')
  await page.getByLabel('Model').fill('some-model')
  const exchanges = await begin('Hello')

  for (const { body } of exchanges) {
    t.match(body, {
      model: 'some-model', temperature: 0.3, messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hello' }]
    })
  }
})

t.test('Stop ends both requests to the upstream, and says that the answer is not whole', async (t) => {
  const { begin, sse, ws, page, server } = await openStage(t, browser)
  const exchanges = await begin('Stop me')
  for (const exchange of exchanges) exchange.text('Beginning ')
  await Promise.all([sse.shows('Beginning'), ws.shows('Beginning')])

  const stoppedAt = performance.now()
  await page.getByRole('button', { name: 'Stop' }).click()
  for (const { closed } of exchanges) {
    const ms = await soon('the end of the upstream', closed, PATIENCE_MS) - stoppedAt
    t.ok(ms < ABORT_MS, `upstream closed after ${ms.toFixed(1)} ms`)
  }

  await Promise.all([sse.ends('stopped'), ws.ends('stopped')])
  t.match(await sse.root.innerText(), 'Stopped after 1 token')
  t.match(await sse.answer.innerText(), 'Beginning')
  await server.idle()
})

t.test('a new question takes the place of the running one', async (t) => {
  const { begin, sse, ws } = await openStage(t, browser)
  const first = await begin('First')
  for (const exchange of first) exchange.text('Old answer')
  await Promise.all([sse.shows('Old'), ws.shows('Old')])

  const second = await begin('Second')
  for (const { closed } of first) await soon('the end of the first', closed, PATIENCE_MS)
  for (const exchange of second) {
    exchange.text('New answer')
    exchange.finish()
  }
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  t.equal(await sse.answer.innerText(), 'New answer')
  t.equal(await ws.answer.innerText(), 'New answer')
})

t.test('figures and plots move with the tokens, and end with usage and cost', async (t) => {
  const { page, sse, ws, ask } = await openPlayground(t, browser, shared)
  const line = page.locator('#rate [data-series=ws] .line')
  await ask('Hello')
  await sse.shows('You asked')
  const shapes = new Set<string | null>()
  for (const pane of [sse, ws]) {
    await untilText(pane.root.locator('[data-figure=first]'), /\d ms|\d s/)
    await untilText(pane.root.locator('[data-figure=tokens]'), /\d/)
  }
  const busy = ws.root.locator('.outcome[data-kind=busy]')
  while (shapes.size < 4 && await busy.count() > 0) shapes.add(await line.getAttribute('d'))
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  t.equal(shapes.size, 4, 'the line was drawn anew')
  t.ok(await page.locator('#latency [data-series=sse] .dots').getAttribute('d'))
  t.ok(Number(await page.locator('#first-token rect[data-series=sse]').getAttribute('width')) > 0)
  t.match(await page.locator('#latency svg').getAttribute('aria-label'), /SSE: median \d+\.\d, 95 % \d+\.\d, longest \d+\.\d\. WebSocket: median \d/)
  for (const pane of [sse, ws]) {
    t.match(await pane.root.locator('[data-figure=tokens]').innerText(), /^\d+ \+ \d+$/)
    t.match(await pane.root.locator('[data-figure=cost]').innerText(), /^\$0\.00\d+$/)
  }
})

t.test('the log shows frames as they were on the wire', async (t) => {
  const { page, sse, ws, ask } = await openPlayground(t, browser, shared)
  await ask('Hello', 'gpt-4.1')
  await Promise.all([sse.ends('whole'), ws.ends('whole')])
  for (const pane of [sse, ws]) await pane.root.getByText('Frames on the wire').click()
  const [events, frames] = await Promise.all([sse, ws].map((pane) => untilText(pane.root.locator('.wire ol'), /"type":"end"/)))

  t.match(events, /→\s+sent\s+POST \/api\/events\?playground=[0-9a-f]{32}/)
  t.match(events, '"messages":[{"role":"user","content":"Hello"}],"model":"gpt-4.1","temperature":1')
  t.match(events, 'data: {"type":"text-delta","choice":0,"text":"You","seq":2}')
  t.match(frames, /"type":"ready","protocol":"llm-chat.v1"/)
  t.match(frames, /→\s+sent\s+\{"messages":.*"type":"chat","id":"c1"\}/)
  t.match(frames, /"type":"end","reason":"complete","id":/)
  await sse.root.getByRole('button', { name: 'Copy' }).click()
  t.match(await untilText(page.locator('#announcements'), /The frames are/), /copied|selected/)
})

t.test('the log keeps its last 500 lines', async (t) => {
  const { begin, sse, ws } = await openStage(t, browser)
  await sse.root.getByText('Frames on the wire').click()
  const exchanges = await begin('Much')
  for (const exchange of exchanges) {
    for (let token = 0; token < 1_200; token++) exchange.text(`${token} `)
    exchange.finish()
  }
  await Promise.all([sse.ends('whole'), ws.ends('whole')])
  await untilText(sse.root.locator('.wire ol li:last-child'), /"type":"end"/)

  t.equal(await sse.root.locator('.wire ol li').count(), 500)
  t.match(await sse.answer.innerText(), '1199')
})

t.test('a cut connection comes back by itself, and both answers go on where they were cut', async (t) => {
  const { page, sse, ws, ask, complaints } = await openPlayground(t, browser, shared)
  await ask('How?', 'mock-markdown')
  await Promise.all([sse.ends('whole'), ws.ends('whole')])
  const uncut = await sse.answer.innerText()
  await ask('How?', 'mock-markdown')
  await Promise.all([sse.shows('A language model'), ws.shows('A language model')])

  const goOn = await holdResume(page)
  await page.getByRole('button', { name: 'Cut the connection' }).click()
  await untilText(page.locator('#keys .cut-result'), /cut 2 connections/)
  await untilText(sse.root.locator('.outcome'), /The answer goes on where it was cut/)
  goOn()
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  for (const pane of [sse, ws]) {
    t.equal(await pane.answer.innerText(), uncut, 'nothing is lost, and nothing comes twice')
    t.match((await pane.states()).join(' '), /open( waiting connecting)+ open/)
  }
  t.same(complaints, ['Failed to load resource: net::ERR_INCOMPLETE_CHUNKED_ENCODING'], 'what the browser itself says of a cut')
})

t.test('an answer whose server is gone is said to be lost, and the question can be asked again', async (t) => {
  const { url, port, pid, exited } = await startServer(t)
  const { page, sse, ws, ask } = await openPlayground(t, browser, { url })
  await ask('Tell me', 'mock-endless')
  await Promise.all([sse.shows('Here is what happens'), ws.shows('Here is what happens')])

  process.kill(pid, 'SIGKILL')
  await exited
  await startServer(t, { PORT: String(port) })
  await Promise.all([sse.ends('failed'), ws.ends('failed')])
  await ws.root.locator('.connection[data-state=open]').waitFor()

  t.match(await sse.root.innerText(), 'The connection was lost, this is not the whole answer.')
  t.match(await ws.root.innerText(), 'The server does not know this answer any more.')
  for (const pane of [sse, ws]) t.match(await pane.answer.innerText(), 'Here is what happens', 'what came stays')
  t.equal((await sse.states()).at(-1), 'lost')
  t.match((await ws.states()).join(' '), /open( waiting connecting)+ open$/)
  t.match(await untilText(page.locator('#announcements'), /tokens came/), /SSE|events|WebSocket/)

  await sse.root.getByRole('button', { name: 'Ask again' }).click()
  t.equal(await page.evaluate('document.activeElement.id'), 'prompt', 'the focus is not lost')
  await Promise.all([sse.shows('Here is what happens'), ws.shows('Here is what happens')])
  await page.keyboard.press('Escape')
  await Promise.all([sse.ends('stopped'), ws.ends('stopped')])
})

t.test('failures are told in sentences, with the code in small print', async (t) => {
  const { sse, ws, ask } = await openPlayground(t, browser, shared)
  const cases = [
    { model: 'mock-cut', sentence: 'The model\'s provider broke off, this is not the whole answer.', code: 'upstream-truncated' },
    { model: 'mock-status-401', sentence: 'The server has no valid key for the model\'s provider.', code: 'upstream-auth' },
    { model: 'no-such-model', sentence: 'The model\'s provider does not take this question.', code: 'upstream-refused' },
    { model: 'mock-error', sentence: 'The model\'s provider reported a failure.', code: 'upstream-failed' }
  ]

  for (const { model, sentence, code } of cases) {
    await ask('Fail', model)
    for (const pane of [sse, ws]) {
      await pane.ends('failed')
      const text = await untilText(pane.root.locator('.outcome'), new RegExp(code))
      t.match(text, sentence, `${model}: ${text}`)
    }
  }
})

t.test('a rate limit is waited for over SSE, and told at once over WebSocket', async (t) => {
  const { sse, ws, ask, page } = await openPlayground(t, browser, shared)
  await ask('Fail', 'mock-status-429')
  await ws.ends('failed')
  const waiting = await untilText(sse.root.locator('.connection'), /next try/)
  await page.keyboard.press('Escape')
  await sse.ends('stopped')

  t.match(await ws.root.innerText(), 'The model\'s provider is at its rate limit.')
  t.match(waiting, /^Refused, next try in \d\.\d s \(\d of 5\)$/)
})

t.test('a server that is gone is told, and found again', async (t) => {
  const { url, port, stop } = await startServer(t)
  const { sse, ws, ask } = await openPlayground(t, browser, { url })
  await stop()
  await untilText(ws.root.locator('.connection'), /Lost|Connecting/)
  await startServer(t, { PORT: String(port) })
  await ask('Are you there?', 'gpt-4.1')

  await Promise.all([sse.ends('whole'), ws.ends('whole')])
  t.match((await ws.states()).at(-1), 'open')
})

t.test('the keyboard is enough: Enter asks, Shift+Enter is a new line, Tab reaches Stop, Escape stops', async (t) => {
  const { page, sse, ws } = await openPlayground(t, browser, shared)
  const focused = (): Promise<string> => page.evaluate('document.activeElement.id')

  t.equal(await focused(), 'prompt', 'one may type at once')
  await page.keyboard.type('First line')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('second line')
  t.equal(await page.getByLabel('Your question').inputValue(), 'First line\nsecond line')
  await page.getByLabel('Model').fill('mock-endless')
  await page.getByLabel('Your question').focus()
  await page.keyboard.press('Enter')
  await Promise.all([sse.shows('You asked'), ws.shows('You asked')])

  for (let presses = 0; presses < 30 && await focused() !== 'stop'; presses++) await page.keyboard.press('Tab')
  t.equal(await focused(), 'stop')
  await page.keyboard.press('Enter')
  await Promise.all([sse.ends('stopped'), ws.ends('stopped')])
  t.equal(await focused(), 'prompt', 'the focus is not lost')

  await page.keyboard.press('Enter')
  await Promise.all([sse.ends('busy'), ws.ends('busy')])
  await page.keyboard.press('Escape')
  await Promise.all([sse.ends('stopped'), ws.ends('stopped')])
})

t.test('a page that streams an answer complains of nothing', async (t) => {
  const { sse, ws, ask, complaints, requests, violations } = await openPlayground(t, browser, shared)
  await ask('Hello')
  await Promise.all([sse.ends('whole'), ws.ends('whole')])
  await ask('Go on', 'mock-reasoning')
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  t.same(complaints, [])
  t.same(await violations(), [])
  t.ok(requests.length > 10)
  t.same(requests.filter((address) => new URL(address).host !== new URL(shared.url).host), [], 'no other host is asked')
})

t.test('the chosen theme holds after a reload', async (t) => {
  const { page } = await openPlayground(t, browser, shared, { colorScheme: 'light' })
  const ground = (): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor')
  const light = await ground()
  await page.getByRole('button', { name: 'Dark theme' }).click()
  const dark = await ground()
  await page.reload()

  t.not(dark, light)
  t.equal(await ground(), dark)
  t.ok(await page.getByRole('button', { name: 'Light theme' }).isVisible())
})
