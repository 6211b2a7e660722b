import t from 'tap'
import { startServer } from '../interop/helper.ts'
import { openPlayground, openStage, startBrowser, untilText } from './helper.ts'

t.setTimeout(300_000)

const browser = await startBrowser(t)
const shared = await startServer(t)

t.test('Enter asks once while it is held, not while a word is composed, and never for nothing', async (t) => {
  const { page, sse } = await openPlayground(t, browser, shared)
  const asked: string[] = []
  await page.route('**/api/events*', (route) => {
    asked.push(String(route.request().postData()))
    return route.fulfill({ status: 401 })
  })
  const press = (init: object): Promise<unknown> => page.evaluate(`document.querySelector('#prompt')
    .dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...${JSON.stringify(init)} }))`)

  await page.getByLabel('Your question').fill(' \n ')
  await press({})
  await page.getByLabel('Your question').fill('composed')
  await press({ keyCode: 229 })
  await press({ isComposing: true })
  await page.getByLabel('Your question').fill('held')
  await press({})
  for (let times = 0; times < 5; times++) await press({ repeat: true })
  await sse.ends('failed')

  t.same(asked.map((body) => JSON.parse(body).messages[0].content), ['held'])
})

t.test('the outcome tells thinking from answering, and thoughts are followed to their end', async (t) => {
  const { begin, sse, ws } = await openStage(t, browser)
  const exchanges = await begin('Think')
  const say = (delta: object): void => {
    for (const { response } of exchanges) response.write(`data: ${JSON.stringify({ id: '1', object: 'chat.completion.chunk', created: 1, model: 'test', choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`)
  }

  say({ reasoning_content: 'Hm.\n'.repeat(100) })
  await untilText(sse.root.locator('.outcome'), /The model is thinking/)
  await untilText(ws.root.locator('.outcome'), /The model is thinking/)
  await sse.answer.locator('.aside').waitFor()
  await sse.answer.evaluate((element) => new Promise((resolve) => setTimeout(() => resolve(element), 100)))
  t.ok(await sse.answer.evaluate((element) => element.scrollTop) > 0, 'the end of the thoughts is in sight')
  say({ content: 'So.' })
  await untilText(sse.root.locator('.outcome'), /Streaming/)
  say({ tool_calls: [{ index: 0, id: 'call-1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Ulm"}' } }] })
  for (const exchange of exchanges) exchange.finish()
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  t.match(await sse.answer.innerText(), 'Calls get_weather with {"city":"Ulm"}')
})

t.test('Stop is told at once, even if the server is silent, and what comes later is ignored', async (t) => {
  const { begin, sse, ws, page } = await openStage(t, browser)
  const exchanges = await begin('Stop')
  for (const exchange of exchanges) exchange.text('Beginning ')
  await Promise.all([sse.shows('Beginning'), ws.shows('Beginning')])

  const kinds = await page.evaluate(`(() => {
    document.querySelector('#stop').click()
    return Array.from(document.querySelectorAll('.outcome'), ({ innerText }) => innerText)
  })()`)

  t.same(kinds, Array(2).fill('Stopped after 1 token, this is not the whole answer.'))
  t.equal(await page.getByRole('button', { name: 'Stop' }).isDisabled(), true)
  t.match(await untilText(page.locator('#announcements'), /Stopped/), /WebSocket: Stopped after 1 token, this is not the whole answer\.$/)
})

t.test('figures and sentences are right at their edges', async (t) => {
  const { page } = await openPlayground(t, browser, shared)
  const rates = (times: number[]): Promise<unknown> => page.evaluate(`(async () => {
    const { Measurement } = await import('/playground/measurement.js')
    const measurement = new Measurement(0)
    for (const time of ${JSON.stringify(times)}) measurement.token(time)
    measurement.peakRate = Math.max(...measurement.rates(${JSON.stringify(times)}))
    return [measurement.meanRate, measurement.highestRate]
  })()`)
  const explain = (error: object): Promise<any> => page.evaluate(`import('/playground/error-texts.js').then(({ explain }) => explain(${JSON.stringify(error)}))`)

  t.same(await rates([100, 110, 120, 130, 140]), [100, 100], 'short and fast')
  t.same(await rates([100]), [null, null], 'one token')
  t.same(await rates([0, 1_000, 1_010, 1_020, 2_000]), [2, 6], 'a burst')
  for (const error of [{ code: 'payload-too-large', status: 413 }, { code: 'http-status', status: 413, retryable: true }, { code: 'lost', closeCode: 1009 }]) {
    t.match(await explain(error), { sentence: 'The question is too large.', retryable: false })
  }
  t.match(await explain({ code: 'upstream-rate-limit', retryAfterMs: 2_500 }), { sentence: /Ask again in 3 s\.$/ })
  t.match(await explain({ code: 'upstream-rate-limit', retryAfterMs: 1_500_000 }), { sentence: /Ask again in 25 minutes\.$/ })
  t.match(await explain({ code: 'upstream-rate-limit', retryAfterMs: 99_999_000 }), { sentence: /Ask again in 28 hours\.$/ })
  t.match(await explain({ code: 'upstream-truncated', text: '' }), { sentence: 'The model\'s provider broke off.' })
})

t.test('the outcome says why the next try is waited for, and that it was stopped before anything came', async (t) => {
  const { sse, ws, ask, page } = await openPlayground(t, browser, shared)
  await ask('Fail', 'mock-status-429')
  await ws.ends('failed')
  const waiting = await untilText(sse.root.locator('.outcome'), /next try/)
  await page.keyboard.press('Escape')
  await sse.ends('stopped')

  t.match(waiting, 'The model\'s provider is at its rate limit. The next try follows by itself.')
  t.match(waiting, 'upstream-rate-limit')
  t.equal(await sse.root.locator('.outcome').innerText(), 'Stopped before the first token.')
})

t.test('what came of a cut stands beside its button', async (t) => {
  const { page } = await openPlayground(t, browser, shared)
  const cut = page.getByRole('button', { name: 'Cut the connection' })
  await cut.click()
  const height = await page.locator('#composer').evaluate((form) => form.clientHeight)
  await untilText(page.locator('#keys .cut-result'), /^The server cut one connection\.$/)
  await page.route('**/playground/cut', (route) => route.abort())
  await cut.click()
  await untilText(page.locator('#keys .cut-result'), /^The server cannot be reached\.$/)

  t.ok(await page.locator('#keys .cut-result').isVisible())
  t.equal(await page.locator('#composer').evaluate((form) => form.clientHeight), height, 'nothing moves')
})

for (const [width, height] of [[390, 844], [1280, 900], [1366, 650]] as const) {
  t.test(`while it streams, text, outcome and Stop are in sight at ${width} x ${height}, and nothing jumps`, async (t) => {
    const { page, sse, ws, ask } = await openPlayground(t, browser, shared, { viewport: { width, height }, reducedMotion: 'reduce' })
    const topInPane = (): Promise<number> => sse.root.evaluate((pane) =>
      Number(pane.querySelector('.answer')?.getBoundingClientRect().top) - pane.getBoundingClientRect().top)
    const before = await topInPane()
    await page.getByLabel('Your question').fill('Tell me')
    const formHeight = await page.locator('#composer').evaluate((form) => form.clientHeight)
    await ask('Tell me', 'mock-endless')
    await Promise.all([sse.shows('Here is what happens'), ws.shows('Here is what happens')])
    const stop = page.getByRole('button', { name: 'Stop' })
    const bottoms = await page.evaluate('[\'.answer\', \'.outcome\', \'#stop\', \'#cut\'].map((selector) => document.querySelector(selector).getBoundingClientRect().bottom)') as number[]
    const tops = await page.evaluate('[\'.answer\', \'.outcome\', \'#stop\', \'#cut\'].map((selector) => document.querySelector(selector).getBoundingClientRect().top)') as number[]

    t.ok(bottoms.every((bottom) => bottom <= height), JSON.stringify(bottoms))
    t.ok(tops.every((top) => top >= 0), JSON.stringify(tops))
    t.equal(await topInPane(), before)
    t.equal(await page.locator('#composer').evaluate((form) => form.clientHeight), formHeight)
    t.ok(await page.evaluate('document.scrollingElement.scrollWidth <= innerWidth'))
    await stop.click()
    await Promise.all([sse.ends('stopped'), ws.ends('stopped')])
    t.equal(await topInPane(), before)
    t.equal(await page.evaluate('document.activeElement.id'), 'prompt')
  })
}
