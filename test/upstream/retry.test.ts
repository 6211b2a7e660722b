import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import {
  ModelNotFoundError, UpstreamAuthError, UpstreamConnectTimeoutError, UpstreamConnectionError, UpstreamIdleTimeoutError,
  UpstreamRateLimitError, UpstreamRefusedError, UpstreamStatusError, withDetails
} from '../../lib/errors.ts'
import { createRedactors, type Redactor } from '../../lib/upstream/redact.ts'
import { retryAfterMs } from '../../lib/upstream/retry-after.ts'
import { isWorthFailover, retryDelayMs, waitBeforeRetry } from '../../lib/upstream/retry.ts'

const options = { limit: 2, baseDelayMs: 250, maxDelayMs: 10_000 }
const retryable = (details = {}) => withDetails(new UpstreamStatusError(503), { retryable: true, ...details })

t.test('retryDelayMs() doubles the wait with each try, with up to half of it in jitter', async (t) => {
  t.equal(retryDelayMs(retryable(), 1, options, () => 0), 250)
  t.equal(retryDelayMs(retryable(), 2, options, () => 0), 500)
  t.equal(retryDelayMs(retryable(), 3, { ...options, limit: 9 }, () => 0), 1_000)
  t.equal(retryDelayMs(retryable(), 1, options, () => 0.5), 312.5)
  t.equal(retryDelayMs(retryable(), 9, { ...options, limit: 9 }, () => 0), 10_000)
  t.equal(retryDelayMs(retryable(), 1, { ...options, maxDelayMs: 0 }), 0)
})

t.test('retryDelayMs() jitters by itself', async (t) => {
  const delay = retryDelayMs(retryable(), 1, options)

  t.ok(delay !== undefined && delay >= 250 && delay < 375)
})

t.test('retryDelayMs() waits as long as the upstream asks, unless that is too long', async (t) => {
  t.equal(retryDelayMs(retryable({ retryAfterMs: 10_000 }), 1, options), 10_000)
  t.equal(retryDelayMs(retryable({ retryAfterMs: 0 }), 1, options), 0)
  t.equal(retryDelayMs(retryable({ retryAfterMs: 10_001 }), 1, options), undefined)
})

t.test('retryDelayMs() allows so many tries as the limit says', async (t) => {
  t.equal(retryDelayMs(retryable(), 2, options, () => 0), 500)
  t.equal(retryDelayMs(retryable(), 3, options), undefined)
  t.equal(retryDelayMs(retryable(), 1, { ...options, limit: 0 }), undefined)
})

t.test('retryDelayMs() gives up on what another try cannot mend', async (t) => {
  t.equal(retryDelayMs(new Error('no'), 1, options), undefined)
  t.equal(retryDelayMs(undefined, 1, options), undefined)
  t.equal(retryDelayMs(new UpstreamAuthError(), 1, options), undefined)
  t.equal(retryDelayMs(withDetails(new UpstreamRefusedError(400), { retryable: false }), 1, options), undefined)
  t.equal(retryDelayMs(withDetails(new UpstreamIdleTimeoutError(), { retryable: true }), 1, options), undefined)
  t.equal(retryDelayMs(withDetails(new UpstreamConnectionError('ECONNRESET'), { retryable: true }), 1, options, () => 0), 250)
  t.equal(retryDelayMs(withDetails(new UpstreamConnectTimeoutError(), { retryable: true }), 1, options, () => 0), 250)
})

t.test('isWorthFailover() is false only for what is wrong with the request itself', async (t) => {
  const refused = (status: number) => withDetails(new UpstreamRefusedError(status), { statusCode: status })

  t.same([400, 413, 422].map((status) => isWorthFailover(refused(status))), [false, false, false])
  t.equal(isWorthFailover(refused(404)), true, 'another upstream may have the model')
  t.equal(isWorthFailover(new ModelNotFoundError('gpt')), true)
  t.equal(isWorthFailover(new UpstreamRateLimitError()), true)
  t.equal(isWorthFailover(new UpstreamAuthError()), true)
  t.equal(isWorthFailover(new Error('no')), true)
})

t.test('waitBeforeRetry() waits', async (t) => {
  const startedAt = performance.now()

  await waitBeforeRetry(30, new AbortController().signal)

  t.ok(performance.now() - startedAt >= 29)
})

t.test('waitBeforeRetry() ends with the reason of the signal', async (t) => {
  const reason = new Error('left')
  const controller = new AbortController()

  const waiting = waitBeforeRetry(60_000, controller.signal)
  controller.abort(reason)

  await t.rejects(waiting, reason)
  t.equal(await waitBeforeRetry(60_000, AbortSignal.abort(reason)).catch((error) => error), reason)
})

t.test('retryAfterMs() reads milliseconds, seconds and dates', async (t) => {
  const now = Date.parse('2026-11-21T10:00:00Z')
  const cases: Array<[Record<string, string | string[]>, number | undefined]> = [
    [{}, undefined],
    [{ 'retry-after': '2' }, 2_000],
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': '0.0015' }, 2],
    [{ 'retry-after': ['3', '9'] }, 3_000],
    [{ 'retry-after-ms': '1500.2', 'retry-after': '9' }, 1_501],
    [{ 'retry-after-ms': '0', 'retry-after': '9' }, 0],
    [{ 'retry-after-ms': 'soon', 'retry-after': '9' }, 9_000],
    [{ 'retry-after-ms': '-5', 'retry-after': '9' }, 9_000],
    [{ 'retry-after-ms': ' ', 'retry-after': '9' }, 9_000],
    [{ 'retry-after': 'Sat, 21 Nov 2026 10:01:00 GMT' }, 60_000],
    [{ 'retry-after': 'Sat, 21 Nov 2026 09:59:00 GMT' }, 0],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '-5' }, undefined],
    [{ 'retry-after': '' }, undefined],
    [{ 'retry-after': [] }, undefined]
  ]
  for (const [headers, expected] of cases) t.equal(retryAfterMs(headers, now), expected, JSON.stringify(headers))
})

t.test('retryAfterMs() takes no endless wait for a number', async (t) => {
  // A number that is not finite would become `retry-after: Infinity` for our client, and `null` in JSON.
  for (const value of ['Infinity', '1e999', '1e308']) {
    t.equal(retryAfterMs({ 'retry-after': value }, 0), undefined, value)
  }
  t.equal(retryAfterMs({ 'retry-after-ms': 'Infinity', 'retry-after': '2' }, 0), 2_000)
})

const createRedactor = (apiKey: string | undefined, headers: Record<string, string> = {}): Redactor => createRedactors(headers)(apiKey)

t.test('redact() takes the key and secret headers out of a text', async (t) => {
  const { redact } = createRedactor('sk-123456', {
    'X-Api-Key': 'header-key',
    authorization: 'Bearer bearer-token',
    'proxy-authorization': 'basic dXNlcjpwdw==',
    Cookie: 'session=1',
    'x-auth-token': 'auth-token',
    'client-secret': 'shhhhhh',
    'x-tenant': 'tenant-1'
  })

  t.equal(redact('key sk-123456, again sk-123456'), 'key [redacted], again [redacted]')
  t.equal(redact('header-key bearer-token dXNlcjpwdw== session=1 auth-token shhhhhh'), Array(6).fill('[redacted]').join(' '))
  t.equal(redact('Bearer bearer-token of tenant-1'), 'Bearer [redacted] of tenant-1')
  t.equal(redact('nothing to see'), 'nothing to see')
})

t.test('redact() leaves words alone that are too short to be secrets', async (t) => {
  t.equal(createRedactor('test', { 'x-key': '12345' }).redact('a test 12345'), 'a test 12345')
  t.equal(createRedactor(undefined, {}).redact('a test'), 'a test')
  t.equal(createRedactor('', {}).redact('a test'), 'a test')
  t.equal(createRedactor('secret', {}).redact('a secret'), 'a [redacted]')
})

t.test('redact() takes a secret out whole, where another is a part of it', async (t) => {
  const { redact } = createRedactor('sk-123456', { 'x-key': 'sk-123456-and-more' })

  t.equal(redact('sk-123456-and-more'), '[redacted]')
  t.equal(redact('sk-123456'), '[redacted]')
})

t.test('no text shows a key after redact()', async (t) => {
  const key = fc.stringMatching(/^[\w-]{6,40}$/).filter((text) => !'redacted'.includes(text))

  t.doesNotThrow(() => fc.assert(fc.property(key, key, fc.array(fc.string()), (apiKey, header, parts) => {
    const { redact } = createRedactor(apiKey, { 'x-key': header })
    const clean = redact(parts.join(apiKey) + header + parts.join(header) + apiKey)

    assert.ok(!clean.includes(apiKey) && !clean.includes(header))
  })))
})

t.test('redact() finds a secret whose characters are escaped', async (t) => {
  const { redact } = createRedactor('sk/secret+1', {})

  for (const echo of ['sk/secret+1', 'sk\\/secret+1', 'sk\\u002fsecret+1', 'sk%2Fsecret%2b1', 'sk\\\\\\/secret+1']) {
    t.equal(redact(`key: ${echo}.`), 'key: [redacted].', echo)
  }
  t.equal(redact('100 % of \\u00e9'), '100 % of \\u00e9')
})

t.test('isClean() tells whether redact() would leave texts alone', async (t) => {
  const { isClean } = createRedactor('sk/secret+1', { 'x-key': 'other-key' })

  for (const text of ['a', 'b\\n', '50%']) t.equal(isClean(text), true, text)
  for (const text of ['my sk/secret+1', 'other-key', 'sk\\/secret+1', 'sk%2fsecret+1', '\\u0073k/secret+1']) t.equal(isClean(text), false, text)
})

t.test('redact() finds a secret with a backslash in JSON', async (t) => {
  const secret = 'sk-ab\\cdef12'
  const { redact } = createRedactor(secret)

  t.equal(redact(`a ${secret}`), 'a [redacted]')
  t.equal(redact(JSON.stringify({ key: secret })), '{"key":"[redacted]"}')
})

t.test('requests with the same key share a redactor, others do not', async (t) => {
  const redactorOf = createRedactors({})
  const first = redactorOf('sk-123456')

  t.equal(redactorOf('sk-123456'), first)
  t.equal(redactorOf('sk-654321').redact('sk-123456 sk-654321'), 'sk-123456 [redacted]')
  t.equal(redactorOf('sk-123456').redact('sk-123456 sk-654321'), '[redacted] sk-654321')
})

t.test('texts that are shorter than the shortest secret need not be looked at', async (t) => {
  t.equal(createRedactor('sk-123456', { 'x-key': 'abcdef' }).shortestSecret, 6)
  t.equal(createRedactor('sk-123456').shortestSecret, 9)
  t.equal(createRedactor(undefined).shortestSecret, Infinity)
})

t.test('isClean() says no where it cannot know', async (t) => {
  for (const secret of ['schlüssel', 'with"quote', 'with\\backslash', 'tab\tinside']) {
    t.match(createRedactor(secret, {}), { shortestSecret: 0 })
    t.equal(createRedactor(secret, {}).isClean('a'), false, secret)
    t.equal(createRedactor(undefined, { 'x-key': secret }).isClean('a'), false, secret)
  }
  t.equal(createRedactor(undefined, {}).isClean('a'), true)
})
