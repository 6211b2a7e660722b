import t from 'tap'
import type { ResolvedSocketOptions } from '../../lib/options.ts'
import * as origins from '../../lib/ws/origin.ts'

const isAllowedOrigin = (origin: string | undefined, host: string, allowed: ResolvedSocketOptions['origins'], protocol = 'http') => origins.isAllowedOrigin(origin, { host, protocol }, allowed)

t.test('a request without an Origin comes from no browser, and passes', async (t) => {
  for (const allowed of ['same-origin', '*', [], ['https://app.example']] as const) t.equal(isAllowedOrigin(undefined, 'api.example', allowed), true)
})

t.test('same-origin: the page is of the host that was asked', async (t) => {
  const isAllowed = (origin: string, host: string) => isAllowedOrigin(origin, host, 'same-origin')

  t.equal(isAllowed('https://api.example', 'api.example'), true)
  t.equal(isAllowed('http://API.example:3000', 'api.EXAMPLE:3000'), true)
  t.equal(isAllowed('http://[::1]:3000', '[::1]:3000'), true)
  t.equal(isAllowed('https://evil.example', 'api.example'), false)
  t.equal(isAllowed('http://api.example:3001', 'api.example:3000'), false)
  t.equal(isAllowed('https://api.example.evil', 'api.example'), false)
  t.equal(isAllowed('https://evil.example/api.example', 'api.example'), false)
  t.equal(isAllowed('ftp://api.example', 'api.example'), false)
  t.equal(isAllowed('null', 'null'), false)
  t.equal(isAllowed('', ''), false)
})

t.test('same-origin: a default port may be written out, and a page without encryption is another origin than a server with it', async (t) => {
  t.equal(isAllowedOrigin('https://api.example', 'api.example:443', 'same-origin'), true)
  t.equal(isAllowedOrigin('https://api.example:443', 'api.example', 'same-origin', 'https'), true)
  t.equal(isAllowedOrigin('http://api.example', 'api.example:80', 'same-origin'), true)
  t.equal(isAllowedOrigin('http://api.example', 'api.example:443', 'same-origin'), false)
  t.equal(isAllowedOrigin('http://api.example', 'api.example', 'same-origin', 'https'), false)
})

t.test('a list takes the place of that, in any case of letters', async (t) => {
  const allowed = ['https://App.example', 'http://localhost:5173']

  t.equal(isAllowedOrigin('https://app.EXAMPLE', 'api.example', allowed), true)
  t.equal(isAllowedOrigin('http://localhost:5173', 'api.example', allowed), true)
  t.equal(isAllowedOrigin('https://api.example', 'api.example', allowed), false)
  t.equal(isAllowedOrigin('http://app.example', 'api.example', allowed), false)
  t.equal(isAllowedOrigin('null', 'api.example', allowed), false)
  t.equal(isAllowedOrigin('https://app.example', 'api.example', []), false)
})

t.test('*: any page may connect', async (t) => {
  for (const origin of ['https://evil.example', 'null', '']) t.equal(isAllowedOrigin(origin, 'api.example', '*'), true)
})
