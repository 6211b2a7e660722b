import t from 'tap'
import { untilAsync } from '../interop/helper.ts'
import { openStage, startBrowser } from './helper.ts'

t.setTimeout(300_000)

const browser = await startBrowser(t)

/** What a model may be talked into. Each piece stands alone, and is also cut in the middle of its markup below. */
const hostile = `
<img src=x onerror="window.pwned = 'img'">

<script>window.pwned = 'script'</script>

<svg onload="window.pwned = 'svg'"></svg> and <b onmouseover="window.pwned = 'b'">inline</b>

<iframe src="https://evil.example/frame"></iframe><form action="https://evil.example/form"><input name="key"></form>

<style>body { display: none }</style><base href="https://evil.example/">

[link](javascript:window.pwned='link') [coded](&#106;avascript:window.pwned='coded') [data](data:text/html,<script>window.pwned='data'</script>)
[relative](/playground/cut) [fine](https://fine.example/page "title")

![pixel](https://evil.example/pixel.png) ![](javascript:window.pwned='image')

[reference]: javascript:window.pwned='reference'

See [reference], <https://fine.example/auto> and <javascript:window.pwned='auto'>.

\`\`\`html"><img src=x onerror=window.pwned='fence'>
<img src=x onerror="window.pwned = 'code'">
\`\`\`

| a | b |
|---|:-:|
| <img src=x onerror="window.pwned = 'cell'"> | ![cell](https://evil.example/cell.png) |

- [x] <img src=x onerror="window.pwned = 'task'">

The end.
`

for (const size of [hostile.length, 7, 1]) {
  t.test(`hostile text that comes ${size === hostile.length ? 'at once' : `in pieces of ${size}`} renders inert`, async (t) => {
    const { begin, sse, ws, page, violations, requests, complaints, server } = await openStage(t, browser)
    const exchanges = await begin('Be evil')
    for (const exchange of exchanges) {
      for (let at = 0; at < hostile.length; at += size) exchange.text(hostile.slice(at, at + size))
      exchange.finish()
    }
    await Promise.all([sse.ends('whole'), ws.ends('whole')])

    for (const { answer } of [sse, ws]) {
      t.equal(await answer.locator('img, script, svg, iframe, form, input, style, base, object, embed, video, audio').count(), 0)
      const links = await answer.locator('a[href]').evaluateAll((found) => found.map((link) =>
        ['href', 'target', 'rel'].map((name) => link.getAttribute(name))))
      t.ok(links.every(([href]) => /^https:\/\//.test(String(href))), JSON.stringify(links))
      t.ok(links.every(([, target, rel]) => target === '_blank' && /noopener/.test(String(rel))))
      t.ok(links.some(([href]) => href === 'https://fine.example/page'), 'a harmless link stays one')
      const attributes = await answer.locator('.last ~ *, *').evaluateAll((found) => found.flatMap((element) => element.getAttributeNames()))
      t.notOk(attributes.some((name) => /^on|^style$|^id$/.test(name)))
      const text = await answer.innerText()
      t.match(text, 'window.pwned = \'script\'', 'markup is shown as it was written')
      t.match(text, 'The end.')
    }
    t.equal(await page.evaluate('window.pwned'), undefined)
    t.same(await violations(), [])
    t.same(complaints, [])
    t.same(requests.filter((address) => new URL(address).host !== new URL(server.url).host), [])
  })
}

t.test('the policy refuses markup that does not come through the sanitiser', async (t) => {
  const { page, violations } = await openStage(t, browser)

  const refused = await page.evaluate(`(() => {
    try { document.querySelector('.answer').innerHTML = '<img src=x>' } catch (error) { return error.name }
  })()`)
  await page.evaluate('document.body.append(Object.assign(document.createElement("img"), { src: "https://evil.example/pixel.png" }))')
  await untilAsync('two refusals', async () => (await violations()).length >= 2)

  t.equal(refused, 'TypeError')
  t.match((await violations()).join('\n'), /require-trusted-types-for[^]*img-src https:\/\/evil\.example/)
})

t.test('markdown is rendered while it comes, and what is complete is left alone', async (t) => {
  const { begin, sse, page } = await openStage(t, browser)
  const exchanges = await begin('Format')
  const say = (text: string): void => { for (const exchange of exchanges) exchange.text(text) }

  say('# Title\n\nSome **bold')
  await sse.shows('bold')
  await page.evaluate('document.querySelector(".pane[data-series=sse] .answer h3").dataset.seen = "yes"')
  say('** text\n\n- one\n')
  await sse.answer.locator('strong').waitFor()
  say('- two\n\n```js\nconst code = 1')
  await sse.answer.locator('pre code').waitFor()
  say('\n```\n\n[link](https://fine.example/)\n\nDone.')
  for (const exchange of exchanges) exchange.finish()
  await sse.ends('whole')

  t.equal(await sse.answer.locator('h3[data-seen=yes]').count(), 1, 'the heading was not made anew')
  t.equal(await sse.answer.locator('li').count(), 2)
  t.equal(await sse.answer.locator('pre code').innerText(), 'const code = 1\n')
  t.equal(await sse.answer.locator('p').last().innerText(), 'Done.')
})

t.test('a reader who scrolled up is left there', async (t) => {
  const { begin, sse, ws } = await openStage(t, browser)
  const exchanges = await begin('Much')
  const say = (text: string): void => { for (const exchange of exchanges) exchange.text(text) }
  const top = (): Promise<number> => sse.answer.evaluate((element) => element.scrollTop)

  say(Array.from({ length: 60 }, (_, index) => `Line ${index}\n\n`).join(''))
  await Promise.all([sse.shows('Line 59'), ws.shows('Line 59')])
  t.ok(await top() > 0, 'the end is in sight')
  await sse.answer.hover()
  await sse.answer.evaluate((element) => { element.scrollTop = 0 })
  say('More\n\n')
  await sse.shows('More')

  t.equal(await top(), 0)
})
