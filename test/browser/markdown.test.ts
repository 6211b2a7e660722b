import t from 'tap'
import { startServer } from '../interop/helper.ts'
import { openPlayground, openStage, startBrowser } from './helper.ts'

t.setTimeout(300_000)

const browser = await startBrowser(t)

/** Short texts that take a naive reader the whole stack, or seconds. */
const costly = [
  '>'.repeat(3_000) + ' x', '> '.repeat(3_000) + 'x', '- '.repeat(2_000) + 'x', `${'*'.repeat(5_000)}x${'*'.repeat(5_000)}`,
  `${'*a **b '.repeat(1_000)}x${'** *'.repeat(1_000)}`, `${'*a **b '.repeat(3_000)}x${'** *'.repeat(3_000)}`, '['.repeat(5_000), '[a]('.repeat(5_000),
  '```'.repeat(5_000), '<a '.repeat(5_000), 'a@'.repeat(5_000), '- a **b** `c`\n'.repeat(1_000), '> - > - > - > - x\n'.repeat(500), 'a\n> b\n'.repeat(20_000)
]

/** Shows a text at once or character by character; tells what came of it. */
const show = `async (text, size) => {
  const { AnswerView } = await import('/playground/answer-view.js')
  const element = document.createElement('div')
  document.querySelector('main').replaceChildren(element)
  const view = new AnswerView(element)
  view.begin()
  let slowest = 0
  for (let at = 0; at < text.length; at += size) {
    view.add(text.slice(at, at + size))
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))
  }
  const begin = performance.now()
  view.end()
  return { ms: performance.now() - begin, text: element.textContent, html: element.innerHTML, streaming: element.dataset.streaming }
}`

interface Shown { ms: number, text: string, streaming?: string }

/** A naive reader takes seconds. */
const freezeMs = 500

/** On a busy machine others take their time too: what is fast once is fast. */
async function fastest (show: () => Promise<Shown>): Promise<Shown> {
  let shown = await show()
  for (let tries = 1; tries < 5 && shown.ms >= freezeMs; tries++) shown = await show()
  return shown
}

t.test('no text makes rendering fail, or freezes the page', async (t) => {
  const { page, complaints } = await openPlayground(t, browser, await startServer(t))

  for (const text of costly) {
    const name = `${text.slice(0, 12)}… of ${text.length}`
    const shown = await fastest(async () => await page.evaluate(`(${show})(${JSON.stringify(text)}, 1e9)`))
    t.ok(shown.ms < freezeMs, `${name} took ${shown.ms.toFixed(0)} ms`)
    t.ok(shown.text.length > 0, name)
    t.equal(shown.streaming, undefined, name)
  }
  t.same(complaints, [])
})

t.test('numbers of a list are those that the model wrote, however the text comes', async (t) => {
  const { page } = await openPlayground(t, browser, await startServer(t))
  const text = '1. one\n\n2. two\n\n3. three\n\n```js\ncode\n```\n\n4. four\n\nSome text.\n\n5. five\n'
  const numbers = 'Array.from(document.querySelectorAll(\'ol\'), (list) => [list.start, list.childElementCount])'

  for (const size of [1e9, 3, 1]) {
    await page.evaluate(`(${show})(${JSON.stringify(text)}, ${size})`)
    t.same(await page.evaluate(numbers), [[1, 3], [4, 1], [5, 1]], `in pieces of ${size}`)
  }
})

/** Elements without text that a screen reader would announce, in any beginning of a text. */
const nameless = `async (text) => {
  const { blocksOf, render } = await import('/playground/markdown.js')
  return Array.from(text, (_, length) => render(blocksOf(text.slice(0, length + 1))))
    .flatMap((fragment) => Array.from(fragment.querySelectorAll('a, h3, h4, th')))
    .filter(({ textContent }) => textContent.trim() === '').map(({ outerHTML }) => outerHTML)
}`

t.test('no beginning of an answer has a heading, a link or a column without a name', async (t) => {
  const { page } = await openPlayground(t, browser, await startServer(t))
  const rich = 'A text.\n\n## **Bold** title\n\n1. one\n2. [a link](https://fine.example/)\n\n| a | b |\n|---|---|\n| c | `d` |\n\n#### End #'

  for (const text of ['# ', '###### \n\nA text.', rich]) {
    t.same(await page.evaluate(`(${nameless})(${JSON.stringify(text)})`), [], text.slice(0, 20))
  }
})

t.test('harmless attributes stay, and links of other schemes lose their address', async (t) => {
  const { page } = await openPlayground(t, browser, await startServer(t))
  const text = '5. five\n\n| a | b |\n|:-:|--:|\n| c | d |\n\n[a](javascript:x) [b](data:text/html,x) [c](vbscript:x) [d](https://fine.example/) [e](/start)'
  const { html } = await page.evaluate(`(${show})(${JSON.stringify(text)}, 1e9)`) as { html: string }

  t.match(html, '<ol start="5">')
  t.match(html, /<th align="center">a<\/th>\s*<th align="right">b/)
  t.same(html.match(/href="[^"]*"/g), ['href="https://fine.example/"'])
})

t.test('an answer ends, whatever its view does', async (t) => {
  const { begin, sse, ws, page } = await openStage(t, browser)
  const exchanges = await begin('Break')
  for (const exchange of exchanges) exchange.text('Beginning')
  await Promise.all([sse.shows('Beginning'), ws.shows('Beginning')])
  await page.evaluate('Element.prototype.replaceChildren = () => { throw new Error(\'broken view\') }')
  for (const exchange of exchanges) exchange.finish()
  await Promise.all([sse.ends('whole'), ws.ends('whole')])

  t.equal(await page.getByRole('button', { name: 'Stop' }).isDisabled(), true)
})
