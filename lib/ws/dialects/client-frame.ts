import type { ClientMessage, JsonFrame } from '../../../types/dialect.ts'
import { InvalidFrameError } from '../../errors.ts'

/** Longest id of a chat, in characters. */
export const MAX_ID_LENGTH = 64

/** Longest name of a conversation, in characters. */
const MAX_CONVERSATION_LENGTH = 256

/**
 * The id of a frame, which is echoed in every frame of its chat.
 * @param field Where it stands.
 * @throws LLM_ERR_INVALID_FRAME when it is not a text of 1 to 64 characters.
 */
export function readId (id: unknown, field = 'id'): string {
  return readName(id, field, `"${field}"`, MAX_ID_LENGTH)
}

/**
 * A client's name for its conversation.
 * @throws LLM_ERR_INVALID_FRAME when it is not a text of 1 to 256 characters.
 */
export function readConversation (id: unknown): string {
  return readName(id, 'id', '"id", the chat\'s', MAX_CONVERSATION_LENGTH)
}

function readName (name: unknown, field: string, expected: string, maxLength: number): string {
  if (typeof name === 'string' && name !== '' && name.length <= maxLength) return name
  throw new InvalidFrameError(`a frame ${name === undefined ? 'without' : 'with another kind of'} "${field}"`, `${expected}, a text of 1 to ${maxLength} characters`)
}

/**
 * The id of a stream that a client wants to go on with.
 * @throws LLM_ERR_INVALID_FRAME when it is not a text.
 */
export function readStreamId (streamId: unknown): string {
  if (typeof streamId === 'string' && streamId !== '') return streamId
  throw new InvalidFrameError('a "resume" frame without "streamId"', 'a "streamId" that is the text of a "start" frame or of the header x-stream-id')
}

/**
 * The number of the last event that a client has; without one it wants all.
 * @throws LLM_ERR_INVALID_FRAME when it is not a whole number.
 */
export function readAfter (after: unknown = 0): number {
  if (Number.isSafeInteger(after) && (after as number) >= 0) return after as number
  throw new InvalidFrameError('a "resume" frame with an "after" of the wrong kind', 'an "after" that is the "seq" of the last event that came, or 0')
}

/** A chat frame of a dialect whose clients may leave out the id. */
export function readChat ({ type: _type, id, ...request }: JsonFrame): ClientMessage {
  return { type: 'chat', id: id == null ? undefined : readId(id), request }
}

/** @throws LLM_ERR_INVALID_FRAME, naming the type that came; not its value, which may be anything. */
export function refuseType ({ type }: JsonFrame, expected: string): never {
  const came = typeof type === 'string' ? `a frame of type "${type.slice(0, 32)}"` : 'a frame without "type"'
  throw new InvalidFrameError(came, expected)
}
