import { existsSync, readFileSync, readdirSync } from 'node:fs'
import t from 'tap'
import { root } from '../program.ts'

// Plain JavaScript without declarations: what it gives is checked here.
const load = async (file: string): Promise<any> => await import(new URL(`../../bench/plot/${file}`, import.meta.url).href)
const [{ barChart }, { fillBlocks }, { extract }, { linear, logarithmic }, { documents, outputsOf }, { tables }, { plots }] = await Promise.all(
  ['bar-chart.mjs', 'blocks.mjs', 'figures.mjs', 'scale.mjs', 'outputs.mjs', 'tables.mjs', 'plots.mjs'].map(load))

const read = (path: string): string => readFileSync(root + path, 'utf8')
const figures = JSON.parse(read('docs/plots/figures.json'))

const chart = {
  title: 'Cost of <tags> & "quotes"',
  description: 'Two bars.',
  axis: 'us',
  digits: 2,
  series: { sse: 'SSE', ws: 'WebSocket' },
  bars: [{ label: 'a & b', group: 'first', series: 'sse', value: 0.4 }, { label: 'none', group: 'second', series: 'ws', value: 0 }],
  caption: ['today', 'here']
}

/** Fails on elements that are not closed in order, and on signs that must be escaped. */
function checkMarkup (svg: string): void {
  const open: string[] = []
  const rest = svg.replace(/<(\/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<&]*(?:&#\d+;[^"<&]*)*")*)(\/?)>/g, (_tag, close, name, _attributes, isEmpty) => {
    if (close === '/' && open.pop() !== name) throw new Error(`</${name}> closes another element`)
    if (close === '' && isEmpty === '') open.push(name)
    return ''
  })
  if (open.length > 0) throw new Error(`not closed: ${open.join(', ')}`)
  if (/[<>]|&(?!#\d+;)/.test(rest)) throw new Error(`not escaped: ${rest}`)
}

t.test('plots and tables are what the generator makes of docs/plots/figures.json', async (t) => {
  for (const [path, content] of outputsOf(figures, read)) t.ok(read(path) === content, `${path} is up to date: npm run bench:plot`)
})

t.test('each plot is shown, and has no neighbour that nobody makes', async (t) => {
  const text = documents.map(read).join('')

  t.same(readdirSync(`${root}docs/plots`).sort(), [...Object.keys(plots).map((name) => `${name}.svg`), 'figures.json'].sort())
  for (const name of Object.keys(plots)) t.match(text, `(plots/${name}.svg)`)
})

t.test('each table stands in a document, and each document has tables', async (t) => {
  const named = documents.map((path: string) => Array.from(read(path).matchAll(/figures:begin ([\w-]+)/g), ([, name]) => String(name)))

  t.same([...new Set(named.flat())].sort(), Object.keys(tables).sort())
  for (const [index, path] of documents.entries()) t.ok(existsSync(root + path) && named[index].length > 0, path)
})

t.test('each plot is well-formed, and says in words what it shows', async (t) => {
  for (const [name, draw] of Object.entries(plots) as Array<[string, (figures: unknown) => string]>) {
    const svg = draw(figures)

    t.doesNotThrow(() => checkMarkup(svg), name)
    t.match(svg, /^<svg [^>]*role="img" aria-labelledby="title desc">\n<title id="title">[^<]+<\/title>\n<desc id="desc">[^<]+<\/desc>/)
    t.match(svg, 'prefers-color-scheme:dark')
    t.match(svg, name === 'memory' ? figures.idle.date : figures.date)
  }
})

t.test('a chart escapes its texts, has a heading a group, and draws a zero', async (t) => {
  const svg = barChart(chart)

  t.doesNotThrow(() => checkMarkup(svg))
  t.match(svg, 'Cost of &#60;tags&#62; &#38; &#34;quotes&#34;')
  t.match(svg, '>first<')
  t.match(svg, '>second<')
  t.match(svg, '>0.40<')
  t.match(svg, '>0.00<')
})

t.test('a chart without a figure is a chart all the same', async (t) => {
  t.doesNotThrow(() => checkMarkup(barChart({ ...chart, bars: [] })))
  t.doesNotThrow(() => checkMarkup(barChart({ ...chart, isLogarithmic: true, bars: [chart.bars[1]] })))
})

t.test('a linear axis goes from 0 to a round number', async (t) => {
  t.same(linear(53).ticks, [0, 10, 20, 30, 40, 50, 60])
  t.same(linear(0.4).ticks, [0, 0.1, 0.2, 0.3, 0.4])
  t.equal(linear(60).at(30), 0.5)
  t.equal(linear(60).at(-1), 0)
})

t.test('a logarithmic axis has whole powers of ten', async (t) => {
  const { at, ticks } = logarithmic(0.4, 64)

  t.same(ticks, [0.1, 1, 10, 100])
  t.equal(at(0.1), 0)
  t.ok(Math.abs(at(1) - 1 / 3) < 1e-9)
  t.equal(at(100), 1)
})

t.test('figures of a trial run are told as such', async (t) => {
  const told = ({ rounds, windowMs }: { rounds: number, windowMs: number }): string => tables.conditions({ ...figures, fast: { ...figures.fast, rounds, windowMs } })

  t.match(told({ rounds: 1, windowMs: 2_500 }), 'A trial run')
  t.match(told({ rounds: 5, windowMs: 500 }), 'A trial run')
  t.notMatch(told({ rounds: 5, windowMs: 2_500 }), 'trial')
})

t.test('a block is filled, and what is around it stays', async (t) => {
  const page = 'a\n<!-- figures:begin one -->\nold\n<!-- figures:end one -->\nb\n'
  const filled = fillBlocks(page, (name: string) => `new ${name}`)

  t.equal(filled, 'a\n<!-- figures:begin one -->\n\nnew one\n\n<!-- figures:end one -->\nb\n')
  t.equal(fillBlocks(filled, (name: string) => `new ${name}`), filled)
})

t.test('a block that nobody knows is refused', async (t) => {
  const page = '<!-- figures:begin nope -->\n<!-- figures:end nope -->\n'

  t.throws(() => outputsOf(figures, () => page), { message: /no table "nope"/ })
})

t.test('latencies are told less what they are without a server, in milliseconds', async (t) => {
  const row = (server: string, latency: object) => ({ server, streams: 500, cpuPerEvent: 30.12345, cpuSpread: 0.1, eventsPerSecond: 1_000.4, peakBytes: 2 ** 20, latency })
  const none = { mean: null, p50: null, p99: null }
  const timed = (rows: object[]) => ({ date: '2026-01-02T03:04:05.678Z', machine: { node: '20.0.0', cpu: 'X', cores: 2, linux: '6.1.0-x' }, rounds: 1, plans: [{ windowMs: 500, streams: 500 }], rows, notes: { raw: ['leaks upstream'] } })
  const paced = timed([row('direct', { mean: 100, p50: 90, p99: 200 }), row('openai', { mean: 300, p50: 190, p99: 1_200 })])
  const fast = timed([row('raw', none)])
  const result = extract({
    fast,
    others: fast,
    paced,
    pacedMany: paced,
    http2: fast,
    idle: { date: '2026-01-03T00:00:00.000Z', rounds: 1, rows: [{ kind: 'sse', connections: 10, rss: 1_024, heap: 2_048 }] },
    abort: { clients: 1, rounds: 1, rows: [] },
    latency: { plan: { streams: 100, windowMs: 500 }, rounds: 1, rows: [{ server: 'openai', cpuPerEvent: 1, added: { mean: 200, p50: 100, p99: 1_000 }, bytesAround: 20 }] },
    reconnect: { tries: 1, rows: [] },
    binary: { size: 65_536, sseBytes: 87_409.08, closeCode: 1_003 }
  })

  t.match(result, { date: '2026-01-02', machine: 'Node 20.0.0, X, 2 cores, Linux 6.1.0' })
  t.same(result.paced.rows[1].added, { mean: 0.2, p50: 0.1, p99: 1 })
  t.same(result.latency.rows[0].added, { mean: 0.2, p50: 0.1, p99: 1 })
  t.match(result.fast.rows[0], { cpu: 30.12, events: 1_000, peakMiB: 1, notes: ['leaks upstream'] })
  t.match(result.idle.rows[0], { rss: 1, heap: 2, beside: 'sse-source' })
  t.equal(result.binary.sseBytes, 87_409)
  t.equal(result.idle.date, '2026-01-03')
  t.throws(() => extract({ ...result, fast: timed([row('nobody', none)]) }), { message: /nobody/ })
  t.same(extract({ abort: { clients: 2, rounds: 3, rows: [] } }, result), { ...result, abort: { clients: 2, rounds: 3, rows: [] } })
})
