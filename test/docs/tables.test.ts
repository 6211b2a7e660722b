import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { Value } from '@sinclair/typebox/value'
import * as errors from '../../lib/errors.ts'
import { mergeSocketOptions, mergeStreamOptions, resolvePluginOptions, type ResolvedUpstreamOptions } from '../../lib/options.ts'
import { EndReason, StreamEvent } from '../../lib/schemas/stream-event.ts'
import { MODEL_SCENARIOS } from '../../lib/testing/index.ts'
import { closeCodes } from '../../lib/ws/close-codes.ts'
import { dialects } from '../../lib/ws/dialects/index.ts'
import type { PluginOptions } from '../../types/options.ts'
import { root } from '../program.ts'
import { anchorsOf, namesIn, pages, readPage, readTables, withoutBlocks, type Table } from './markdown.ts'

const tables = readTables('README.md')
const architecture = readTables('docs/architecture.md')
const baseUrl = 'https://api.example.com/v1'
const resolved = resolvePluginOptions({ upstream: { baseUrl } })
const [upstream] = resolved.upstream as [ResolvedUpstreamOptions]

function tableOf (heading: string, column: string, from: readonly Table[] = tables): Table {
  const table = from.find((one) => one.heading === heading && one.columns[0] === column)
  if (table === undefined) throw new Error(`There is no table "${column}" under "${heading}"`)
  return table
}

/** Names in the first column of a table. */
function namesOf ({ columns, rows }: Table): string[] {
  return rows.flatMap((row) => namesIn(row[columns[0] ?? '']))
}

/** Option names that the package knows, as its own error lists them. */
function knownNames (check: () => unknown): string[] {
  try {
    check()
  } catch (error) {
    return /one of (.*)$/.exec((error as Error).message)?.[1]?.split(', ') ?? []
  }
  return []
}

const register = (options: object): (() => unknown) => () => resolvePluginOptions({ upstream: { baseUrl }, ...options } as PluginOptions)

const streamNames = knownNames(() => mergeStreamOptions(resolved.stream, { nope: 1 } as never, ''))
const socketNames = knownNames(() => mergeSocketOptions(resolved.socket, { nope: 1 } as never, ''))
const hookNames = streamNames.filter((name) => name.startsWith('onStream'))

/** Each table of options: its place, the names that the code knows, their defaults after resolving. */
const optionTables = [
  { contract: 'StreamOptions', heading: 'Streams', column: 'Option', known: streamNames.filter((name) => !hookNames.includes(name)), defaults: resolved.stream },
  { contract: 'SocketOptions', heading: 'WebSockets', column: 'Option', known: socketNames.filter((name) => !streamNames.includes(name)), defaults: resolved.socket },
  { contract: 'PluginOptions', heading: 'Plugin', column: 'Option', known: knownNames(register({ nope: 1 })).filter((name) => !streamNames.includes(name)), defaults: { shutdownGraceMs: resolved.shutdownGraceMs, websocket: resolved.websocket } },
  { contract: 'UpstreamOptions', heading: 'Upstream', column: 'Option', known: knownNames(register({ upstream: { baseUrl, nope: 1 } })), defaults: { ...upstream, baseUrl: undefined } },
  { contract: 'RetryOptions', heading: 'Upstream', column: 'Option of `retry`', known: knownNames(register({ upstream: { baseUrl, retry: { nope: 1 } } })), defaults: upstream.retry },
  { contract: 'WebSocketUpstreamOptions', heading: 'Upstream', column: 'Option of `websocket`', known: knownNames(register({ upstream: { baseUrl: 'wss://x', dialect: 'websocket', websocket: { nope: 1 } } })), defaults: upstream.websocket },
  { contract: 'LimitOptions', heading: 'Limits', column: 'Option of `limits`', known: knownNames(register({ limits: { nope: 1 } })), defaults: { ...resolved.limits, key: undefined } }
]

/** The `@default` of an option of an interface in types/options.ts, where it is a literal. */
function documentedDefault (contract: string, name: string): unknown {
  const source = readFileSync(`${root}types/options.ts`, 'utf8').split(`interface ${contract} `)[1]?.split('\n}')[0] ?? ''
  const pattern = new RegExp(`@default ([^\\n]*)\\n(?:(?!\\*/)[^])*\\*/\\n  ${name}\\?`)
  const docstring = source.split('/**').find((part) => new RegExp(`\\*/\\n  ${name}\\??:`).test(part)) ?? ''
  const text = pattern.exec(docstring)?.[1]
  return text === undefined || !/^('[^']*'|[\d_]+|true|false)$/.test(text) ? undefined : literal(text)
}

function literal (text: string): unknown {
  return new Function(`return (${text})`)() // eslint-disable-line no-new-func -- of our own pages and types
}

for (const { contract, heading, column, known, defaults } of optionTables) {
  t.test(`the table "${column}" under "${heading}" names the options and their defaults`, async (t) => {
    const table = tableOf(heading, column)

    t.ok(known.length > 0)
    t.same(namesOf(table).sort(), [...known].sort())
    for (const row of table.rows) {
      const [name = ''] = namesIn(row[column])
      const cell = row.Default ?? ''
      const expected = (defaults as Record<string, unknown>)[name] ?? documentedDefault(contract, name)
      if (expected === undefined) t.notMatch(cell, /^`[^`]*`$/, `${name} has no default`)
      else t.same(literal(namesIn(cell)[0] ?? ''), expected, `default of ${name}`)
    }
  })
}

t.test('the table of hooks names the hooks in their order, and what they get', async (t) => {
  const table = tableOf('Use hooks', 'Hook')
  const source = readFileSync(`${root}types/hooks.ts`, 'utf8')

  t.same(namesOf(table), hookNames)
  for (const row of table.rows) {
    for (const name of namesIn(row.Gets).filter((name) => !name.startsWith('onStream'))) t.match(source, new RegExp(`readonly ${name}\\??:`))
  }
})

t.test('the table of errors has every code with its spellings and its status', async (t) => {
  const { rows } = tableOf('Codes', 'Code')
  const real = Object.values(errors).flatMap((exported) => {
    const error = (exported as { prototype?: unknown }).prototype instanceof Error ? new (exported as new () => Error & { code: string, statusCode: number })() : undefined
    return error === undefined ? [] : [{ code: error.code, wire: errors.wireCode(error.code), status: error.statusCode }]
  })
  const told = rows.map((row) => ({ code: namesIn(row.Code)[0], wire: namesIn(row['On the wire'])[0], status: Number(row.Status) }))
  const byCode = (a: { code?: string | undefined }, b: { code?: string | undefined }): number => String(a.code) < String(b.code) ? -1 : 1

  t.ok(real.length > 30)
  t.same(told.sort(byCode), real.sort(byCode))
  t.ok(rows.every((row) => row.When !== '' && row['What to do'] !== ''))
})

t.test('codes in the text are codes that exist', async (t) => {
  const wireCodes = namesOf({ ...tableOf('Codes', 'Code'), columns: ['On the wire'] })
  const symptoms = tableOf('When it misbehaves', 'Symptom')
  const named = symptoms.rows.flatMap((row) => namesIn(row.Symptom)).filter((name) => name.startsWith('upstream-') || name.startsWith('too-many'))

  t.ok(named.length > 5)
  t.same(named.filter((name) => !wireCodes.includes(name)), [])
})

t.test('the table of events has one valid example of each event', async (t) => {
  const { rows } = tableOf('Read events', 'Event')
  const types = StreamEvent.anyOf.map(({ properties }) => properties.type.const)

  t.same(rows.map((row) => namesIn(row.Event)[0]), types)
  for (const row of rows) {
    const example = JSON.parse(namesIn(row.Example)[0] ?? '')
    t.equal(example.type, namesIn(row.Event)[0])
    t.ok(Value.Check(StreamEvent, example), String(row.Example))
  }
})

t.test('end reasons are the closed set, on both pages', async (t) => {
  const reasons = EndReason.anyOf.map((one) => one.const as string).sort()
  const sentence = /`reason` is one of (.*)\./.exec(readPage('README.md'))?.[1]

  t.same(namesIn(sentence).sort(), reasons)
  t.same(namesOf(tableOf('Who ends a stream', 'Reason', architecture)).sort(), reasons)
})

t.test('the table of the reference server names what it reads from its environment', async (t) => {
  const source = readFileSync(`${root}examples/server.js`, 'utf8')
  const named = namesOf(tableOf('Try it', 'Env'))
  const header = source.slice(source.indexOf('// Env:'), source.indexOf('import'))

  t.same(named.filter((name) => !new RegExp(`(env\\.|\\b)${name}\\b`).test(source.slice(source.indexOf('import')))), [])
  t.same(Array.from(header.matchAll(/\b[A-Z]+(?:_[A-Z]+)*(?= \(|, [A-Z]|,\n)/g), ([name]) => name).filter((name) => !named.includes(name)), [])
  t.same(Array.from(source.matchAll(/env\.([A-Z_]+)/g), ([, name]) => String(name)).filter((name) => !named.includes(name)), [])
})

t.test('the page on testing names every model of the embedded upstream', async (t) => {
  const named = namesOf(tableOf('Model names', 'Model', readTables('docs/testing.md')))

  t.same(Object.keys(MODEL_SCENARIOS).filter((name) => !named.includes(name)), [])
})

t.test('folders import what the dependency rule allows, and nothing else', async (t) => {
  const { rows } = tableOf('Keep the dependency rule', 'Folder', architecture)
  const folders = readdirSync(`${root}lib`, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => `${name}/`)

  t.same(rows.flatMap((row) => namesIn(row.Folder)).sort(), folders.sort())
  for (const row of rows) {
    const [folder = ''] = namesIn(row.Folder)
    const { own, packages } = importsOf(folder)
    t.same(own.filter((name) => !namesIn(row['Imports from `lib/`']).includes(name)), [], `${folder} imports from lib`)
    t.same(namesIn(row['Imports from `lib/`']).filter((name) => !own.includes(name)), [], `${folder} has no need of`)
    t.same(packages, namesIn(row.Packages).sort(), `${folder} imports packages`)
  }
})

/** What the files of a folder of lib import, types included: other folders (`sse/`) and files (`errors.ts`) of lib, and packages. */
function importsOf (folder: string): { own: string[], packages: string[] } {
  const own = new Set<string>()
  const packages = new Set<string>()
  for (const file of readdirSync(`${root}lib/${folder}`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))) {
    const path = `${root}lib/${folder}${file}`
    for (const [, specifier = ''] of readFileSync(path, 'utf8').matchAll(/from '([^']+)'/g)) {
      if (!specifier.startsWith('.')) {
        if (!specifier.startsWith('node:')) packages.add(specifier)
        continue
      }
      const target = relative(`${root}lib`, join(dirname(path), specifier))
      if (target.startsWith(folder) || target.startsWith('..')) continue
      own.add(target.includes('/') ? `${target.split('/')[0]}/` : target)
    }
  }
  return { own: [...own].sort(), packages: [...packages].sort() }
}

t.test('links lead to files and headings that exist', async (t) => {
  for (const page of [...pages, 'CHANGELOG.md']) {
    for (const [, target = ''] of withoutBlocks(readPage(page)).matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      t.ok(existsSync(root + file), `${page} links to ${target}`)
      if (anchor !== undefined) t.ok(anchorsOf(file).includes(anchor), `${page} links to ${target}`)
    }
  }
})

t.test('the changelog keeps its form', async (t) => {
  const headings = Array.from(readPage('CHANGELOG.md').matchAll(/^#+ .*$/gm), ([heading]) => heading)

  t.same(headings.slice(0, 2), ['# Changelog', '## [Unreleased]'])
  for (const heading of headings.slice(2)) t.match(heading, /^(## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d|### (Added|Changed|Deprecated|Removed|Fixed|Security))$/)
})

t.test('the page of the protocol names every close code and every dialect', async (t) => {
  const protocol = readTables('docs/protocol.md')
  const told = tableOf('Close codes', 'Code', protocol).rows.map((row) => Number(row.Code))

  // Two are of `ws` itself.
  t.same(told.filter((code) => code !== 1007 && code !== 1009).sort(), Object.values(closeCodes).map(([code]) => code).sort())
  t.same(tableOf('Other dialects', '', protocol).columns.slice(1).flatMap(namesIn).sort(), dialects.filter(({ isNative }) => !isNative).map(({ name }) => name).sort())
})

t.test('the page of the protocol names codes that exist', async (t) => {
  const wireCodes = namesOf({ ...tableOf('Codes', 'Code'), columns: ['On the wire'] })
  const named = Array.from(readPage('docs/protocol.md').matchAll(/"code":"([a-z-]+)"|\(`([a-z-]+)`\)/g), ([, quoted, marked]) => String(quoted ?? marked))

  t.ok(named.length > 3)
  t.same(named.filter((name) => !wireCodes.includes(name)), [])
})
