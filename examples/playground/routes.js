// The playground at GET /: a page that asks one question over SSE and over WebSocket. No bundler and no build step: the
// browser runs the ES modules of page/ as they are written, so what one reads in the developer tools is this source.
// All files are read once, at start, and each has a route of its own: no address is ever turned into a path.
import { createHash } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { connectionCuts } from './cuts.js'
import { browserModules } from './modules.js'

/** @typedef {{ model: string, label: string, prompt?: string }} Example */

/**
 * @typedef {object} PlaygroundOptions
 * @property {string} model What the field "Model" says at first.
 * @property {readonly Example[]} [examples] Things to try with one click.
 */

const pageFolder = new URL('./page/', import.meta.url)

/** What of the page's folder a browser may have. */
const types = new Map([['.js', 'text/javascript; charset=utf-8'], ['.css', 'text/css; charset=utf-8'], ['.svg', 'image/svg+xml']])

/**
 * Registers the page, its files, and what cuts connections. Register it before the routes whose connections may be cut.
 * @param {import('fastify').FastifyInstance} app
 * @param {PlaygroundOptions} options
 */
export async function playground (app, options) {
  connectionCuts(app)
  const { imports, files: modules } = await browserModules('/playground/modules/')
  const importMap = JSON.stringify({ imports })
  const files = new Map([...modules, ...await pageFiles()])
  const html = fillIn(await readFile(new URL('index.html', pageFolder), 'utf8'), importMap, options)
  files.set('/', { type: 'text/html; charset=utf-8', content: html })
  serve(app, files, securityHeaders(importMap))
}

/** Fastify would keep the hook of the cuts to the page's own routes; the answers that it watches are the app's. */
Object.assign(playground, { [Symbol.for('skip-override')]: true })

/**
 * @param {import('fastify').FastifyInstance} app
 * @param {ReadonlyMap<string, import('./modules.js').BrowserFile>} files
 * @param {Record<string, string>} headers
 */
function serve (app, files, headers) {
  for (const [url, { type, content }] of files) {
    app.get(url, (_request, reply) => reply.headers(headers).type(type).send(content))
  }
}

async function pageFiles () {
  const files = /** @type {Map<string, import('./modules.js').BrowserFile>} */ (new Map())
  for (const name of await readdir(pageFolder)) {
    const type = types.get(extname(name))
    if (type !== undefined) files.set(`/playground/${name}`, { type, content: await readFile(new URL(name, pageFolder), 'utf8') })
  }
  return files
}

/**
 * Scripts and styles come from this server alone; the one inline script is the import map, known by its hash. Markup gets
 * into the page through DOMPurify alone, which the browser enforces where it knows trusted types.
 * @param {string} importMap
 */
function securityHeaders (importMap) {
  const hash = createHash('sha256').update(importMap).digest('base64')
  const policy = [
    "default-src 'none'", `script-src 'self' 'sha256-${hash}'`, "style-src 'self'", "connect-src 'self'", "img-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", 'trusted-types dompurify'
  ]
  return {
    'content-security-policy': policy.join('; '),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': 'no-cache'
  }
}

/**
 * @param {string} html
 * @param {string} importMap
 * @param {PlaygroundOptions} options
 */
function fillIn (html, importMap, { model, examples = [] }) {
  const names = new Set([model, ...examples.map((example) => example.model)])
  const buttons = examples.map((example) =>
    `<button type="button" class="chip" data-model="${escape(example.model)}" data-prompt="${escape(example.prompt ?? '')}">${escape(example.label)}</button>`)
  /** @type {Record<string, string>} */
  const values = {
    importMap,
    model: escape(model),
    models: Array.from(names, (name) => `<option value="${escape(name)}"></option>`).join(''),
    examples: buttons.join('\n        '),
    examplesHidden: examples.length === 0 ? 'hidden' : ''
  }
  return html.replace(/\{\{(\w+)\}\}/g, (_, name) => values[name] ?? '')
}

/** @param {string} text */
function escape (text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
