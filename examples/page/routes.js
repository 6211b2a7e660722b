// The reference server's page: plain HTML and a script, read once, served with a strict Content-Security-Policy.
import { readFile } from 'node:fs/promises'

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const files = [
  { url: '/', name: 'index.html', type: 'text/html; charset=utf-8' },
  { url: '/page.js', name: 'page.js', type: 'text/javascript; charset=utf-8' },
  { url: '/page.css', name: 'page.css', type: 'text/css; charset=utf-8' }
]

/** @param {import('fastify').FastifyInstance} app */
export async function pageRoutes (app) {
  for (const { url, name, type } of files) {
    const content = await readFile(new URL(name, import.meta.url), 'utf8')
    app.get(url, (_request, reply) => reply
      .header('content-security-policy', policy)
      .header('x-content-type-options', 'nosniff')
      .type(type)
      .send(content))
  }
}
