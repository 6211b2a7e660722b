import { EventEmitter } from 'node:events'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { checkUpgrade, chosenProtocol, takeSlot } from '../../lib/ws/upgrade.ts'
import { createHub, socketOptions } from './helper.ts'

/** An upgrade request. */
function createRequest (headers: object = {}, fields: object = {}) {
  return { ws: true, raw: {}, headers, query: {}, host: 'api.example', ...fields } as unknown as FastifyRequest
}

t.test('a request without an upgrade is refused with 426', async (t) => {
  const ofVersion = (httpVersionMajor: number) => createRequest({}, { ws: false, raw: { httpVersionMajor } })

  t.throws(() => checkUpgrade(ofVersion(1), socketOptions()), { code: 'LLM_ERR_UPGRADE_REQUIRED', statusCode: 426, headers: { upgrade: 'websocket' } })
  const error = t.throws(() => checkUpgrade(ofVersion(2), socketOptions()), { code: 'LLM_ERR_UPGRADE_REQUIRED' }) as object
  t.notOk('headers' in error, 'Node throws where HTTP/2 has such a header')
})

t.test('another origin is refused with 403, and quoted in short', async (t) => {
  const origin = `https://${'x'.repeat(200)}`
  const error = t.throws(() => checkUpgrade(createRequest({ origin }), socketOptions()), { code: 'LLM_ERR_ORIGIN', statusCode: 403 }) as Error

  t.match(error.message, `origin "${origin.slice(0, 100)}" are`)
  t.doesNotThrow(() => checkUpgrade(createRequest({ origin }), socketOptions({ origins: '*' })))
  t.doesNotThrow(() => checkUpgrade(createRequest({ origin: 'https://api.example' }), socketOptions()))
})

t.test('a key in the query is refused with 400 unless it is allowed', async (t) => {
  const request = createRequest({}, { query: { api_key: 'sk-secret' } })
  const error = t.throws(() => checkUpgrade(request, socketOptions()), { code: 'LLM_ERR_QUERY_KEY', statusCode: 400 }) as Error

  t.notMatch(error.message, 'sk-secret')
  t.doesNotThrow(() => checkUpgrade(request, socketOptions({ allowQueryKey: true })))
})

t.test('the subprotocol is a dialect\'s or none', async (t) => {
  const chosen = (offered?: string) => {
    const request = createRequest(offered === undefined ? {} : { 'sec-websocket-protocol': offered })
    t.equal(chosenProtocol(request.raw), undefined, 'not judged')
    checkUpgrade(request, socketOptions())
    return chosenProtocol(request.raw)
  }

  t.equal(chosen('bearer.abc, openai, llm-chat.v1'), 'openai')
  t.equal(chosen('bearer.abc, graphql-ws'), false)
  t.equal(chosen(), false)
})

t.test('a slot is given back when the connection closes', async (t) => {
  const { hub } = createHub({ limits: { maxConnections: 1 } })
  const connection = new EventEmitter()
  takeSlot(createRequest(), connection, hub)
  t.equal(hub.size, 1)

  connection.emit('close')

  t.equal(hub.size, 0)
})

t.test('slots are counted by key only where that has a bound', async (t) => {
  const keys: unknown[] = []
  const key = (request: FastifyRequest): string => {
    keys.push(request)
    return 'ann'
  }
  takeSlot(createRequest(), new EventEmitter(), createHub({ limits: { key } }).hub)
  t.equal(keys.length, 0)
  const { hub } = createHub({ limits: { key, maxConnectionsPerKey: 1 } })
  const request = createRequest()

  takeSlot(request, new EventEmitter(), hub)

  t.strictSame(keys, [request])
  t.throws(() => takeSlot(request, new EventEmitter(), hub), { code: 'LLM_ERR_TOO_MANY_CONNECTIONS_PER_KEY' })
})
