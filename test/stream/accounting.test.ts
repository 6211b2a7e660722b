import t from 'tap'
import type { ChatRequest } from '../../lib/schemas/chat-request.ts'
import type { EndReason, UsageEvent } from '../../lib/schemas/stream-event.ts'
import {
  HookError, MaxDurationError, ModelNotFoundError, SourceFailedError, UpstreamIdleTimeoutError, UpstreamRefusedError, UpstreamTruncatedError, withDetails
} from '../../lib/errors.ts'
import { exposeMessage, toStreamError } from '../../lib/stream/client-error.ts'
import { costOf } from '../../lib/stream/cost.ts'
import { errorForReason, isAbort, isClientGone, reasonForError } from '../../lib/stream/end-reason.ts'
import { estimateUsage } from '../../lib/stream/estimate.ts'

const reasons: EndReason[] = ['complete', 'client', 'stop', 'stalled', 'timeout', 'max-duration', 'upstream-error', 'error', 'shutdown']
const usage: UsageEvent = { type: 'usage', inputTokens: 1_000, outputTokens: 100, totalTokens: 1_100, estimated: false }

t.test('costOf() is per million tokens, cached ones at their own price', async (t) => {
  t.equal(costOf(usage, { input: 2, output: 8 }), 0.0028)
  t.equal(costOf({ ...usage, cachedInputTokens: 400 }, { input: 2, output: 8, cachedInput: 0.5 }), 0.0022)
  t.equal(costOf({ ...usage, cachedInputTokens: 400 }, { input: 2, output: 8 }), 0.0028)
  t.equal(costOf({ ...usage, cachedInputTokens: 400 }, { input: 2, output: 8, cachedInput: 0 }), 0.002)
  t.equal(costOf({ ...usage, cachedInputTokens: 5_000 }, { input: 2, output: 0, cachedInput: 1 }), 0.001, 'no more are cached than there are')
  t.equal(costOf(usage, { input: 0, output: 0 }), 0)
})

t.test('costOf() takes the upstream\'s word without a price', async (t) => {
  t.equal(costOf({ ...usage, cost: 0.5 }, undefined), 0.5)
  t.equal(costOf(usage, undefined), undefined)
  t.equal(costOf({ ...usage, cost: 0.5 }, { input: 0, output: 0 }), 0)
})

t.test('estimateUsage() counts four characters a token, and at least one token a delta', async (t) => {
  const tokens = (request: object, deltas = 0, characters = 0) => {
    const { inputTokens, outputTokens, totalTokens } = estimateUsage(request as ChatRequest, deltas, characters)
    return [inputTokens, outputTokens, totalTokens]
  }

  t.strictSame(estimateUsage({ prompt: '12345' }, 3, 5), { type: 'usage', inputTokens: 2, outputTokens: 3, totalTokens: 5, estimated: true })
  t.strictSame(tokens({}, 1, 9), [0, 3, 3])
  t.strictSame(tokens({ messages: [{ role: 'user', content: '1234' }, { role: 'assistant', content: null }, { role: 'user' }] }), [1, 0, 1])
  t.strictSame(tokens({ messages: [{ role: 'user', content: [{ type: 'text', text: '12345678' }, { type: 'image_url' }, { type: 'text', text: 5 }] }] }), [2, 0, 2])
})

t.test('estimateUsage() counts whatever a route without a schema lets through', async (t) => {
  // It runs when a stream is summed up: a throw there would keep the slot, skip onStreamEnd and end the process.
  for (const content of [[null], [undefined, 'text', 5, [], { type: 'text', text: '1234' }], 5, {}, true]) {
    const messages = [{ role: 'user', content }] as unknown as NonNullable<ChatRequest['messages']>

    t.equal(estimateUsage({ messages }, 0, 0).inputTokens, JSON.stringify(content).includes('1234') ? 1 : 0)
  }
})

t.test('aborts are what somebody decided', async (t) => {
  t.strictSame(reasons.filter(isAbort), ['client', 'stop', 'stalled', 'max-duration', 'shutdown'])
  t.strictSame(reasons.filter(isClientGone), ['client', 'stalled'])
})

t.test('errorForReason() is what a source sees on its signal', async (t) => {
  const code = (reason: EndReason) => (errorForReason(reason) as { code?: string }).code

  t.strictSame(reasons.map((reason) => [reason, code(reason)]), [
    ['complete', 'LLM_ERR_STOPPED'],
    ['client', 'LLM_ERR_CLIENT_LEFT'],
    ['stop', 'LLM_ERR_STOPPED'],
    ['stalled', 'LLM_ERR_STALLED'],
    ['timeout', 'LLM_ERR_STOPPED'],
    ['max-duration', 'LLM_ERR_MAX_DURATION'],
    ['upstream-error', 'LLM_ERR_STOPPED'],
    ['error', 'LLM_ERR_STOPPED'],
    ['shutdown', 'LLM_ERR_SHUTDOWN']
  ])
  t.match(errorForReason('shutdown'), { retryable: true })
})

t.test('reasonForError() tells whose failure it was', async (t) => {
  t.equal(reasonForError(new Error('x'), true), 'upstream-error')
  t.equal(reasonForError(new Error('x'), false), 'error')
  t.equal(reasonForError('x', true), 'upstream-error')
  t.equal(reasonForError(new UpstreamTruncatedError(), false), 'upstream-error')
  t.equal(reasonForError(new UpstreamIdleTimeoutError(), true), 'timeout')
  t.equal(reasonForError(new HookError(), true), 'error')
  t.equal(reasonForError(new ModelNotFoundError('m'), true), 'error')
})

t.test('toStreamError() tells errors of this package with their wire code', async (t) => {
  const refused = withDetails(new UpstreamRefusedError(413), { statusCode: 413, retryable: false, upstreamMessage: 'Too many tokens' })

  t.strictSame(toStreamError(new MaxDurationError(), false), {
    code: 'max-duration', message: 'The stream was ended because it ran too long', retryable: false, status: 504
  })
  t.strictSame(toStreamError(withDetails(new UpstreamTruncatedError(), { retryable: true, retryAfterMs: 0 }), true), {
    code: 'upstream-truncated', message: 'The upstream ended before the answer was complete', retryable: true, status: 502, retryAfterMs: 0
  })
  t.match(toStreamError(refused, false), { message: 'The upstream refused the request with status 413', status: 413 })
  t.match(toStreamError(refused, true), { message: 'Too many tokens', status: 413 })
})

t.test('toStreamError() hides what any other error says, unless it may be exposed', async (t) => {
  const hidden = { code: 'source-failed', message: 'The stream failed', retryable: false, status: 500 }

  t.strictSame(toStreamError(new Error('password is 123'), false), hidden)
  t.strictSame(toStreamError(new Error('row 5'), true), { ...hidden, message: 'row 5' })
  t.strictSame(toStreamError('password is 123', true), hidden)
  t.strictSame(toStreamError(undefined, false), hidden)
})

t.test('exposeMessage() puts the upstream\'s words in the place of ours only where they may be seen', async (t) => {
  const create = () => withDetails(new UpstreamRefusedError(400), { upstreamMessage: 'Too many tokens' })
  const other = new Error('x')
  const plain = new SourceFailedError()

  t.match(exposeMessage(create(), true), { message: 'Too many tokens' })
  t.match(exposeMessage(create(), false), { message: 'The upstream refused the request with status 400' })
  t.equal(exposeMessage(other, true), other)
  t.equal(exposeMessage(plain, true), plain)
  t.equal(plain.message, 'The stream failed')
  t.equal(exposeMessage('text', true), 'text')
})
