import type { Frame } from '../../../types/batch.ts'
import { UpstreamFailedError, UpstreamTruncatedError, withDetails } from '../../errors.ts'
import { Answer, type AnswerOptions } from './answer.ts'
import { isObject } from '../../json.ts'
import { contentError, errorFromUpstream, findError, type Redact } from './upstream-error.ts'

/** Options of {@link decodeCompletion}. */
export interface DecodeCompletionOptions extends AnswerOptions {
  /** Takes our secrets out of whatever the upstream says. */
  readonly redact: Redact
}

/**
 * Decodes the JSON body of an upstream that ignored `stream: true`: `{"object":"chat.completion","choices":[…]}`.
 * @param json The parsed body.
 * @returns Frames without chunks: the answer with its start and finishes, then usage. What no event describes is left
 * out, for a whole body is no chunk that could be passed on.
 * @throws The error that the body reports, as {@link errorFromUpstream} makes it; LLM_ERR_UPSTREAM_TRUNCATED when it has no
 * finish and ends within a tool call; LLM_ERR_UPSTREAM_CONTENT when it is neither an error nor an answer.
 */
export function decodeCompletion (json: unknown, options: DecodeCompletionOptions): Frame[] {
  const error = findError(json)
  if (error !== undefined) throw errorFromUpstream(error, options.redact)
  if (!isObject(json) || !Array.isArray(json.choices) || !json.choices.some(isObject)) {
    throw contentError('JSON that is not a chat completion', String(JSON.stringify(json)), options.redact)
  }
  const answer = new Answer(options)
  const frames = answer.add({ text: '', json })
  // The body came whole, and would again.
  if (answer.isCut) throw withDetails(new UpstreamTruncatedError(), { retryable: false })
  frames.push(...answer.finish(), ...answer.usageFrames())
  if (answer.failed) throw withDetails(new UpstreamFailedError(), { retryable: true })
  return frames.map(({ events }) => ({ events: events.filter(({ type }) => type !== 'raw') }))
}
