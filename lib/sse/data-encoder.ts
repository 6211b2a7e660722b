import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { Frame } from '../../types/batch.ts'
import { EventSerializeError, withDetails } from '../errors.ts'
import { encodeData, encodeEvent, heartbeat } from '../event-stream/encode.ts'
import { SseMessage } from './message.ts'

/** Format `data`: each item as text or JSON, for sources that are not chats. */
export class DataEncoder implements Encoder {
  readonly heartbeat = heartbeat
  readonly #done: string | false

  /** @param done Data of the last frame, or `false` for none. */
  constructor (done: string | false) {
    this.#done = done
  }

  encode (frames: ReadonlyArray<Frame<unknown>>): string[] {
    return frames.flatMap(({ events }) => events.map(encodeItem)).filter((message) => message !== '')
  }

  end ({ error }: Outcome): string[] {
    const failure = error === undefined ? [] : [encodeEvent({ event: 'error', data: JSON.stringify({ error }) })]
    return this.#done === false ? failure : [...failure, encodeData(this.#done)]
  }
}

function encodeItem (item: unknown): string {
  if (item instanceof SseMessage) {
    const { data, ...fields } = item.fields
    return encodeEvent({ ...fields, data: data === undefined ? undefined : toText(data) })
  }
  return item === undefined ? '' : encodeData(toText(item))
}

/** Text and bytes as they are, anything else as JSON. */
function toText (payload: unknown): string {
  if (typeof payload === 'string') return payload
  if (payload instanceof Uint8Array) return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8')
  return toJson(payload)
}

function toJson (payload: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(payload)
  } catch (error) {
    // Clients see the message of an error: what an item's own toJSON() said is the host's to know.
    const words = error instanceof Error ? error.message : String(error)
    throw withDetails(new EventSerializeError('its serializer failed', { cause: error }), { upstreamMessage: words.replace(/\n.*/s, '') })
  }
  if (text === undefined) throw new EventSerializeError(`${typeof payload} has no JSON`)
  return text
}
