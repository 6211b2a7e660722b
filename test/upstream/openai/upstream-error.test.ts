import t from 'tap'
import { errorFromResponse, errorFromUpstream, findError } from '../../../lib/upstream/openai/upstream-error.ts'

const KEY = 'sk-secret-key'
const redact = (text: string): string => text.replaceAll(KEY, '[redacted]')
const same = (text: string): string => text

t.test('errorFromResponse() maps statuses', async (t) => {
  const cases: Array<[number, string, number, boolean]> = [
    [400, 'LLM_ERR_UPSTREAM_REFUSED', 400, false],
    [404, 'LLM_ERR_UPSTREAM_REFUSED', 404, false],
    [413, 'LLM_ERR_UPSTREAM_REFUSED', 413, false],
    [422, 'LLM_ERR_UPSTREAM_REFUSED', 422, false],
    [401, 'LLM_ERR_UPSTREAM_AUTH', 502, false],
    [403, 'LLM_ERR_UPSTREAM_AUTH', 502, false],
    [429, 'LLM_ERR_UPSTREAM_RATE_LIMIT', 429, true],
    [408, 'LLM_ERR_UPSTREAM_STATUS', 504, true],
    [504, 'LLM_ERR_UPSTREAM_STATUS', 504, true],
    [500, 'LLM_ERR_UPSTREAM_STATUS', 502, true],
    [503, 'LLM_ERR_UPSTREAM_STATUS', 502, true],
    [529, 'LLM_ERR_UPSTREAM_STATUS', 502, true],
    [302, 'LLM_ERR_UPSTREAM_STATUS', 502, false],
    [402, 'LLM_ERR_UPSTREAM_STATUS', 502, false]
  ]

  for (const [status, code, statusCode, retryable] of cases) {
    t.match(errorFromResponse(status, '', { redact }), { code, statusCode, retryable, upstreamMessage: undefined }, String(status))
  }
  t.match(errorFromResponse(503, '', { redact }).message, /503/)
})

t.test('errorFromResponse() tells how long to wait', async (t) => {
  t.match(errorFromResponse(429, '', { redact, retryAfterMs: 1200 }), { retryAfterMs: 1200, headers: { 'retry-after': '2' } })
  t.notOk('headers' in errorFromResponse(429, '', { redact }))
  t.match(errorFromResponse(503, '', { redact, retryAfterMs: 1200 }), { retryAfterMs: 1200, headers: { 'retry-after': '2' } })
  t.match(errorFromResponse(400, '', { redact, retryAfterMs: 1200 }), { headers: { 'x-should-retry': 'false' } })
})

t.test('errorFromResponse() finds the message in every shape of body', async (t) => {
  const messageOf = (body: string): string | undefined => errorFromResponse(500, body, { redact }).upstreamMessage

  t.equal(messageOf('{"error":{"message":"boom","type":"server_error"}}'), 'boom')
  t.equal(messageOf('{"error":"boom"}'), 'boom')
  t.equal(messageOf('{"object":"error","message":"boom","code":500}'), 'boom')
  t.equal(messageOf('{"detail":"boom"}'), 'boom')
  t.equal(messageOf('{"detail":[{"loc":["body"],"msg":"boom"}]}'), '{"message":[{"loc":["body"],"msg":"boom"}]}')
  t.equal(messageOf('{"object":"error","message":{"detail":"boom"}}'), 'boom')
  t.equal(messageOf('{"errors":[{"code":10000,"message":"boom"}]}'), 'boom')
  t.equal(messageOf('{"message":"boom","status":500}'), 'boom')
  t.equal(messageOf('[{"error":{"code":503,"message":"boom"}}]'), 'boom')
  t.equal(messageOf('event: error\ndata: {"error":{"message":"boom"}}\n\n'), 'boom')
  t.equal(messageOf('data:{"error":"boom"}\r\n\r\n'), 'boom')
  t.equal(messageOf('{"error":{"code":"x"}}'), '{"code":"x"}')
  t.equal(messageOf('\n\n<html>\n  Bad   gateway</html>\n'), '<html> Bad gateway</html>')
  t.equal(messageOf('data: not JSON'), 'data: not JSON')
  t.equal(messageOf('x'.repeat(300)), 'x'.repeat(200))
  t.equal(messageOf(JSON.stringify({ error: { message: 'x'.repeat(600) } })), 'x'.repeat(500))
  t.equal(messageOf('  '), undefined)
})

t.test('errorFromResponse() takes secrets out before it cuts', async (t) => {
  const messageOf = (body: string): string | undefined => errorFromResponse(401, body, { redact }).upstreamMessage

  t.equal(messageOf(JSON.stringify({ error: { message: `Bad key ${KEY}` } })), 'Bad key [redacted]')
  t.equal(messageOf('x'.repeat(190) + KEY), 'x'.repeat(190) + '[redacted]')
  t.equal(messageOf(JSON.stringify({ error: { message: 'x'.repeat(495) + KEY } })), 'x'.repeat(495) + '[reda')
})

t.test('errorFromUpstream() reads a status from numbers, else from words', async (t) => {
  const cases: Array<[unknown, string, number, boolean]> = [
    [{ message: 'm', code: 400 }, 'LLM_ERR_UPSTREAM_REFUSED', 400, false],
    [{ message: 'm', code: '404' }, 'LLM_ERR_UPSTREAM_REFUSED', 404, false],
    [{ message: 'm', status_code: 413 }, 'LLM_ERR_UPSTREAM_REFUSED', 413, false],
    [{ message: 'm', code: 'x', status: 422 }, 'LLM_ERR_UPSTREAM_REFUSED', 422, false],
    [{ message: 'm', code: 401 }, 'LLM_ERR_UPSTREAM_AUTH', 502, false],
    [{ message: 'm', code: 429 }, 'LLM_ERR_UPSTREAM_RATE_LIMIT', 429, true],
    [{ message: 'm', code: 408 }, 'LLM_ERR_UPSTREAM_FAILED', 502, true],
    [{ message: 'm', code: 502 }, 'LLM_ERR_UPSTREAM_FAILED', 502, true],
    [{ message: 'm', code: 499 }, 'LLM_ERR_UPSTREAM_FAILED', 502, false],
    [{ message: 'm', type: 'server_error', code: null }, 'LLM_ERR_UPSTREAM_FAILED', 502, true],
    [{ message: 'm', type: 'overloaded_error' }, 'LLM_ERR_UPSTREAM_FAILED', 502, true],
    [{ message: 'm', type: 'tokens', code: 'rate_limit_exceeded' }, 'LLM_ERR_UPSTREAM_RATE_LIMIT', 429, true],
    [{ message: 'm', status: 'RESOURCE_EXHAUSTED' }, 'LLM_ERR_UPSTREAM_RATE_LIMIT', 429, true],
    [{ message: 'm', type: 'invalid_request_error', code: 'invalid_api_key' }, 'LLM_ERR_UPSTREAM_AUTH', 502, false],
    [{ message: 'm', type: 'invalid_request_error', code: 'context_length_exceeded' }, 'LLM_ERR_UPSTREAM_REFUSED', 400, false],
    [{ message: 'm', type: 'timeout' }, 'LLM_ERR_UPSTREAM_FAILED', 502, true],
    [{ message: 'm' }, 'LLM_ERR_UPSTREAM_FAILED', 502, false],
    ['m', 'LLM_ERR_UPSTREAM_FAILED', 502, false]
  ]

  for (const [error, code, statusCode, retryable] of cases) {
    t.match(errorFromUpstream(error, same), { code, statusCode, retryable, upstreamMessage: 'm' }, JSON.stringify(error))
  }
  t.match(errorFromUpstream('Rate limit exceeded', same), { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', upstreamMessage: 'Rate limit exceeded' })
})

t.test('errorFromUpstream() makes a message of anything', async (t) => {
  t.equal(errorFromUpstream({ a: KEY }, redact).upstreamMessage, '{"a":"[redacted]"}')
  t.equal(errorFromUpstream(null, redact).upstreamMessage, 'null')
  t.equal(errorFromUpstream(undefined, redact).upstreamMessage, '')
})

t.test('findError() takes nothing for an error that is none', async (t) => {
  const chunk = { choices: [], detail: 'x', message: 'x', code: 'x', object: 'error' }

  for (const json of [null, 1, 'error', [], [1], [{}], {}, { error: null }, { error: '' }, { error: false }, { ...chunk, error: {} }, { errors: [] }, { message: 'hi' }, chunk]) {
    t.equal(findError(json), undefined, JSON.stringify(json))
  }
  t.strictSame(findError({ error: {} }), {})
  t.strictSame(findError({ ...chunk, error: { code: 502 } }), { code: 502 })
})
