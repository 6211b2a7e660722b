import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { checkEventFields, encodeData, encodeEvent, heartbeat, type EventFields } from '../../lib/event-stream/encode.ts'
import { EventStreamParser } from '../../lib/event-stream/parser.ts'
import { readEventStream } from './read-event-stream.ts'

/** Everything that has ever been taken for a line end, and what UTF-8 cannot carry. */
const trickyText = fc.constantFrom(
  '\r', '\n', '\r\n', '\n\r', '\u2028', '\u2029', '\u0085', '\0', ' ', '\t', ':', 'data: ', 'id: 1', '\uFEFF', '😀', '\ud83d', '\ude00', ''
)
const anyText = fc.array(fc.oneof(trickyText, fc.string({ unit: 'binary' })), { maxLength: 8 }).map((parts) => parts.join(''))
const oneLine = anyText.map((text) => text.replace(/[\r\n\0]/g, ''))

const anyEvent = fc.record<EventFields>({
  data: anyText,
  event: fc.option(oneLine, { nil: undefined }),
  id: fc.option(fc.oneof(oneLine, fc.integer()), { nil: undefined }),
  retry: fc.option(fc.maxSafeNat(), { nil: undefined }),
  comment: fc.option(anyText, { nil: undefined })
})

/** As it arrives: lone surrogates have no UTF-8. */
function throughUtf8 (text: string): string {
  return Buffer.from(text).toString()
}

/** What a client must see of these events. */
function expected (events: EventFields[]) {
  let lastEventId = ''
  return events.map(({ event, id, data = '' }) => {
    if (id !== undefined) lastEventId = throughUtf8(String(id))
    return { type: throughUtf8(event ?? '') || 'message', data: throughUtf8(data).replace(/\r\n|\r/g, '\n'), lastEventId }
  })
}

t.test('encodeEvent() round-trips any event through a reader that follows the specification', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(fc.array(anyEvent), (events) => {
    const bytes = Buffer.from(events.map(encodeEvent).join(''))

    const reading = readEventStream(bytes)

    assert.deepEqual(reading.events, expected(events))
    assert.deepEqual(reading.retries, events.flatMap(({ retry }) => retry ?? []))
    assert.equal(reading.emptyBlocks, 0)
  })))
})

t.test('encodeData() round-trips any text', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(anyText, (data) => {
    assert.equal(encodeData(data), encodeEvent({ data }))
    assert.deepEqual(readEventStream(Buffer.from(encodeData(data))), { events: expected([{ data }]), retries: [], emptyBlocks: 0 })
  })))
})

t.test('encodeEvent() is understood by the parser of lib/event-stream/', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(fc.array(anyEvent), (events) => {
    const parser = new EventStreamParser({ maxFrameBytes: 1_000_000 })

    const parsed = parser.push(Buffer.from(events.map(encodeEvent).join('')))

    assert.deepEqual(parsed.map(({ event, data, id }) => ({ type: event, data, lastEventId: id })), expected(events))
    assert.equal(parser.end(), undefined)
  })))
})

t.test('heartbeats between any frames change nothing', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(fc.array(fc.tuple(fc.nat(3), anyEvent)), fc.nat(3), (frames, last) => {
    const text = frames.map(([beats, event]) => heartbeat.repeat(beats) + encodeEvent(event)).join('') + heartbeat.repeat(last)

    const reading = readEventStream(Buffer.from(text))

    assert.deepEqual(reading.events, expected(frames.map(([, event]) => event)))
    assert.equal(reading.emptyBlocks, 0)
  })))
})

t.test('each line of data is one field, with LF only', async (t) => {
  t.equal(encodeData('a'), 'data: a\n\n')
  t.equal(encodeData(''), 'data: \n\n')
  t.equal(encodeData(' a'), 'data:  a\n\n')
  t.equal(encodeData('a\r\nb\rc\nd'), 'data: a\ndata: b\ndata: c\ndata: d\n\n')
  t.equal(encodeData('a\n'), 'data: a\ndata: \n\n')
  t.equal(encodeData('a\r'), 'data: a\ndata: \n\n')
  t.equal(encodeData('\u2028\u2029\u0085'), 'data: \u2028\u2029\u0085\n\n')
  t.equal(heartbeat, ': ping\n')
})

t.test('fields stand in a fixed order, id 0 and retry 0 included', async (t) => {
  t.equal(encodeEvent({ data: 'x', retry: 0, event: 'e', id: 0, comment: 'c' }), ': c\nid: 0\nevent: e\nretry: 0\ndata: x\n\n')
  t.equal(encodeEvent({ data: '', id: '', event: '' }), 'id: \nevent: \ndata: \n\n')
  t.equal(encodeEvent({ data: 'x', id: undefined, event: undefined, retry: undefined, comment: undefined }), 'data: x\n\n')
})

t.test('a comment alone is lines with one line end each', async (t) => {
  t.equal(encodeEvent({ comment: 'a\r\nb\rdata: c' }), ': a\n: b\n: data: c\n')
  t.equal(encodeEvent({ comment: '' }), ': \n')
  t.equal(encodeEvent({}), '')
})

t.test('a field that would break the framing is refused', async (t) => {
  const cases: Array<[object, string]> = [
    [{ id: 'a\nb' }, 'Event field "id" is a text with a line break, expected one line: a second would be read as another field'],
    [{ id: 'a\rb' }, 'Event field "id" is a text with a line break, expected one line: a second would be read as another field'],
    [{ id: 'a\0b' }, 'Event field "id" is a text with NUL, expected a text without it'],
    [{ id: NaN }, 'Event field "id" is of type number, expected a text'],
    [{ id: Infinity }, 'Event field "id" is of type number, expected a text'],
    [{ id: null }, 'Event field "id" is of type object, expected a text'],
    [{ id: 1n }, 'Event field "id" is of type bigint, expected a text'],
    [{ event: 'a\r\nb' }, 'Event field "event" is a text with a line break, expected one line: a second would be read as another field'],
    [{ event: 'a\0b' }, 'Event field "event" is a text with NUL, expected a text without it'],
    [{ event: 1 }, 'Event field "event" is of type number, expected a text'],
    [{ retry: -1 }, 'Event field "retry" is -1, expected whole milliseconds, 0 or more'],
    [{ retry: 1.5 }, 'Event field "retry" is 1.5, expected whole milliseconds, 0 or more'],
    [{ retry: 2 ** 53 }, 'Event field "retry" is 9007199254740992, expected whole milliseconds, 0 or more'],
    [{ retry: '1' }, 'Event field "retry" is 1, expected whole milliseconds, 0 or more']
  ]
  for (const [fields, message] of cases) {
    t.throws(() => checkEventFields({ ...fields, data: '' }), { code: 'LLM_ERR_EVENT_FIELD', statusCode: 500, message })
    t.throws(() => encodeEvent({ ...fields, data: '' }), { code: 'LLM_ERR_EVENT_FIELD', message })
  }
})

t.test('a field without data is refused, because no client would see it', async (t) => {
  for (const fields of [{ id: '1' }, { event: 'e' }, { retry: 1 }]) {
    t.throws(() => encodeEvent(fields), {
      code: 'LLM_ERR_EVENT_FIELD', message: 'Event field "data" is missing, expected data beside event, id or retry'
    })
  }
})

t.test('a comment that is no text is refused', async (t) => {
  t.throws(() => encodeEvent({ comment: 5 as never }), { code: 'LLM_ERR_EVENT_FIELD', message: /"comment" is of type number/ })
})
