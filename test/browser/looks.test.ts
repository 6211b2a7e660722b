import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import t from 'tap'
import { startServer } from '../interop/helper.ts'
import { holdResume, openPlayground, startBrowser, untilText, type Playground } from './helper.ts'

t.setTimeout(300_000)

/** For people to look at; git does not keep them. */
const folder = fileURLToPath(new URL('screenshots/', import.meta.url))
mkdirSync(folder, { recursive: true })

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const browser = await startBrowser(t)
const server = await startServer(t)

const both = (playground: Playground, kind: string): Promise<unknown> => Promise.all([playground.sse.ends(kind), playground.ws.ends(kind)])

/** States that a person may find the page in, one after the other. */
const states: ReadonlyArray<[string, (playground: Playground) => Promise<unknown>]> = [
  ['start', async () => {}],
  ['streaming', async (playground) => {
    await playground.ask('How does a streamed answer reach my screen?')
    await playground.ws.shows('Two ways to send it')
  }],
  ['whole', (playground) => both(playground, 'whole')],
  ['frames', async ({ page, sse, ws }) => {
    for (const pane of [sse, ws]) await pane.root.getByText('Frames on the wire').click()
    await untilText(page.locator('.pane[data-series=ws] .wire ol'), /"type":"end"/)
  }],
  ['cut', async (playground) => {
    for (const pane of [playground.sse, playground.ws]) await pane.root.getByText('Frames on the wire').click()
    await playground.ask('How does a streamed answer reach my screen?')
    await playground.ws.shows('A language model')
    await holdResume(playground.page)
    await playground.page.getByRole('button', { name: 'Cut the connection' }).click()
    await untilText(playground.sse.root.locator('.outcome'), /The answer goes on where it was cut/)
  }],
  ['error', async (playground) => {
    await playground.ws.root.locator('.connection[data-state=open]').waitFor()
    await playground.ask('What happens with a wrong key?', 'mock-status-401')
    await both(playground, 'failed')
  }],
  ['stopped', async (playground) => {
    await playground.page.getByText('Options', { exact: true }).click()
    await playground.ask('Tell me a story.', 'mock-endless')
    await playground.ws.shows('Here is what happens')
    await playground.page.keyboard.press('Escape')
    await both(playground, 'stopped')
  }]
]

/** Elements that stand out of the window, beside those that are clipped on purpose. */
const outside = `Array.from(document.querySelectorAll('body *'))
  .filter((element) => !element.closest('.visually-hidden, datalist, template') && element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 100))`

async function widths (page: Page): Promise<{ wanted: number, given: number, outside: string[] }> {
  return {
    wanted: await page.evaluate('document.scrollingElement.scrollWidth'),
    given: await page.evaluate('innerWidth'),
    outside: await page.evaluate(outside)
  }
}

/** A picture of a size that is not painted yet would lack what scrolls. */
const painted = 'new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)) })'

const sizes = [[390, 844], [768, 1024], [1440, 900]] as const

/** What axe finds, of any impact. */
const findings = `axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) =>
  ({ id, impact, nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => html + failureSummary) })))`

for (const colorScheme of ['light', 'dark'] as const) {
  t.test(`in the ${colorScheme} theme nothing overflows at any width, and axe finds nothing`, async (t) => {
    // axe is no part of the page: its policy would refuse it.
    const playground = await openPlayground(t, browser, server, { colorScheme, bypassCSP: true })
    await playground.page.evaluate(axe)
    for (const [state, reach] of states) {
      await reach(playground)
      for (const [width, height] of sizes) {
        await playground.page.setViewportSize({ width, height })
        await playground.page.evaluate(painted)
        await playground.page.screenshot({ path: `${folder}${colorScheme}-${width}-${state}.png`, fullPage: true })
        const { wanted, given, outside } = await widths(playground.page)
        t.ok(wanted <= given, `${state}: ${wanted} of ${given} px`)
        t.same(outside, [], `${state}, ${width} px`)
      }
      t.same(await playground.page.evaluate(findings), [], state)
    }
  })
}
