import t from 'tap'
import { errorFromClose, errorFromSocket } from '../../../lib/upstream/websocket/socket-error.ts'

const redact = (text: string): string => text.replaceAll('sk-secret', '[redacted]')

t.test('a message over the limit is a frame that is too large', async (t) => {
  for (const code of ['WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH']) {
    const error = errorFromSocket(Object.assign(new RangeError('x'), { code }), 1234)
    t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE', statusCode: 502, retryable: false, message: /1234 bytes/ })
  }
})

t.test('frames that break the rules are content that no upstream may send', async (t) => {
  const cause = Object.assign(new Error('x'), { code: 'WS_ERR_INVALID_UTF8' })

  t.match(errorFromSocket(cause, 1), { code: 'LLM_ERR_UPSTREAM_CONTENT', statusCode: 502, retryable: false, cause, message: /an invalid WebSocket frame/ })
})

t.test('all else is the connection, which may do better', async (t) => {
  const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED' })

  t.match(errorFromSocket(refused, 1), { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true, cause: refused, message: /ECONNREFUSED/ })
  for (const odd of [new Error('Invalid Upgrade header'), null, 'text']) {
    t.match(errorFromSocket(odd, 1), { code: 'LLM_ERR_UPSTREAM_CONNECTION', message: /unknown/ })
  }
})

t.test('bytes that came stay out of an error', async (t) => {
  const error = errorFromSocket(Object.assign(new Error('Parse Error'), { code: 'HPE_INVALID_CONSTANT', rawPacket: Buffer.from('sk-secret') }), 1)

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', message: /HPE_INVALID_CONSTANT/ })
  t.equal(error.cause, undefined)
})

t.test('a close before the end cuts the answer, and says what the upstream said of it', async (t) => {
  for (const answered of [false, true]) {
    for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 4000]) {
      const error = errorFromClose(code, code === 1005 ? '' : 'No more for sk-secret', { answered, redact })
      t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: true }, `${code}`)
      t.equal(error.upstreamMessage, code === 1005 ? undefined : 'No more for [redacted]')
    }
  }
})

t.test('a close that refuses our key is our fault, not the caller\'s', async (t) => {
  for (const answered of [false, true]) {
    for (const code of [1008, 4401, 4403]) {
      t.match(errorFromClose(code, 'Bad key sk-secret', { answered, redact }), {
        code: 'LLM_ERR_UPSTREAM_AUTH', statusCode: 502, retryable: false, upstreamMessage: 'Bad key [redacted]'
      }, `${code}`)
    }
  }
  t.match(errorFromClose(4401, '', { answered: false, redact }), { upstreamMessage: 'close code 4401' })
})

t.test('a busy upstream is a rate limit before the answer, and a cut in it', async (t) => {
  for (const code of [1013, 4429]) {
    t.match(errorFromClose(code, 'Later', { answered: false, redact }), { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', statusCode: 429, retryable: true, upstreamMessage: 'Later' })
    t.match(errorFromClose(code, 'Later', { answered: true, redact }), { code: 'LLM_ERR_UPSTREAM_TRUNCATED', retryable: true, upstreamMessage: 'Later' })
  }
})
