/** What a person reads of a failure, by its code. The code itself stands in small print beside it. */
const sentences = new Map(Object.entries({
  // The client's own.
  connection: 'There is no connection to the server.',
  lost: 'The connection was lost, this is not the whole answer.',
  truncated: 'The connection ended too early, this is not the whole answer.',
  timeout: 'Nothing came from the server for a long time.',
  'http-status': 'The server refused the question.',
  'invalid-response': 'What came back is no answer that this page understands.',
  'event-too-large': 'A part of the answer is larger than this page takes.',
  'slow-reader': 'This page could not keep up with the answer.',
  'queue-full': 'Too many questions wait for a connection.',
  closed: 'The connection was closed.',
  // The request.
  'bad-request': 'The question cannot be sent like this.',
  'payload-too-large': 'The question is too large.',
  'invalid-request': 'The question cannot be sent like this.',
  'upstream-refused': 'The model\'s provider does not take this question. Is the model\'s name right?',
  'model-not-found': 'There is no such model.',
  // Limits.
  busy: 'Too many answers run on this connection. Wait until one has ended.',
  'too-many-streams': 'The server is full. Wait a moment.',
  'too-many-streams-per-key': 'You have too many answers running. Wait until one has ended.',
  'too-many-connections': 'The server is full. Wait a moment.',
  'too-many-connections-per-key': 'You have too many connections open.',
  'max-duration': 'The answer took longer than the server allows.',
  // The server.
  shutdown: 'The server is shutting down.',
  'producer-lost': 'The server that wrote this answer was lost, this is not the whole answer.',
  'store-unavailable': 'Answers cannot be resumed right now.',
  'stream-not-found': 'The server does not know this answer any more.',
  'stream-expired': 'The server does not keep this answer any more.',
  'stream-forbidden': 'This answer belongs to somebody else.',
  orphaned: 'Nobody read this answer for too long, so it was stopped.',
  'client-left': 'Whoever asked for this answer has left.',
  'going-away': 'The server is about to close this connection.',
  origin: 'The server does not let this page connect.',
  // The provider.
  'upstream-auth': 'The server has no valid key for the model\'s provider. Whoever runs the server can fix that.',
  'upstream-rate-limit': 'The model\'s provider is at its rate limit.',
  'upstream-status': 'The model\'s provider has a problem.',
  'upstream-connection': 'The server cannot reach the model\'s provider.',
  'upstream-content': 'What the model\'s provider sent is no answer.',
  'upstream-frame-too-large': 'What the model\'s provider sent is too large.',
  'upstream-truncated': 'The model\'s provider broke off, this is not the whole answer.',
  'upstream-failed': 'The model\'s provider reported a failure.',
  'upstream-connect-timeout': 'The model\'s provider cannot be reached.',
  'upstream-first-token-timeout': 'The model took too long to begin.',
  'upstream-idle-timeout': 'The model fell silent in the middle of its answer.',
  'upstream-total-timeout': 'The model took too long.'
}))

/** @typedef {Partial<import('fastify-llm-stream/client').ChatError>} Failure */

/**
 * Says what failed, and what one can do.
 * @param {unknown} error A `ChatError`, or anything.
 * @returns {{ reason: string, sentence: string, small: string, retryable: boolean }} `sentence` is the reason and how long
 * to wait; `small` is for whoever looks for the cause.
 */
export function explain (error) {
  const { code = 'unknown', message = String(error), status, retryable = false, retryAfterMs, closeCode } = /** @type {Failure} */ (error)
  const isTooLarge = status === 413 || closeCode === 1009 || code === 'payload-too-large'
  const reason = reasonOf(isTooLarge ? { code: 'payload-too-large' } : /** @type {Failure} */ (error))
  const details = [code, status === undefined ? '' : `HTTP ${status}`, closeCode === undefined ? '' : `close code ${closeCode}`, message]
  return {
    reason,
    sentence: retryAfterMs === undefined ? reason : `${reason} Ask again in ${inWords(retryAfterMs)}.`,
    small: details.filter((detail) => detail !== '').join(' · '),
    retryable: !isTooLarge && (retryable || code === 'lost' || code === 'truncated')
  }
}

/** @param {Failure} failure */
function reasonOf ({ code = 'unknown', text }) {
  // Browsers do not tell a server that is away from an answer that was lost before its first word.
  const known = sentences.get(code === 'lost' && text === '' ? 'connection' : code) ?? 'Something went wrong.'
  return text === '' ? known.replace(', this is not the whole answer', '') : known
}

/** @param {number} ms */
function inWords (ms) {
  const seconds = Math.ceil(ms / 1_000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 100 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`
}
