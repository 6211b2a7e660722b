import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { EventStreamParser, parseBlock, type ServerSentEvent } from '../../lib/event-stream/parser.ts'

function parse (...pieces: Array<string | Uint8Array>): { events: ServerSentEvent[], rest: ServerSentEvent | undefined } {
  const parser = new EventStreamParser({ maxFrameBytes: 1 << 20 })
  const events = pieces.flatMap((piece) => parser.push(Buffer.from(piece as string)))
  return { events, rest: parser.end() }
}

/** Data of the events of a stream, the same whole and byte by byte. */
function dataOf (stream: string | Uint8Array): string[] {
  const bytes = Buffer.from(stream as string)
  const whole = parse(bytes).events.map((event) => event.data)
  const bytewise = parse(...[...bytes].map((byte) => Uint8Array.of(byte))).events.map((event) => event.data)
  assert.deepEqual(bytewise, whole)
  return whole
}

t.test('EventStreamParser reads the usual event', async (t) => {
  t.strictSame(parse('data: {"a":1}\n\n').events, [{ event: 'message', data: '{"a":1}', id: '' }])
})

t.test('EventStreamParser reads data as the specification says', async (t) => {
  const cases: Array<[string, string[]]> = [
    ['data\n\n', ['']],
    ['data:\n\n', ['']],
    ['data\ndata\n\n', ['\n']],
    ['data: a\ndata:b\r\ndata:  c\rdata:\td\n\n', ['a\nb\n c\n\td']],
    ['data:a:b: c\n\n', ['a:b: c']],
    ['data: a\ndata\n\n', ['a\n']],
    ['Data: a\n data: b\ndata : c\ndatax: d\n\n', []],
    [': comment\n\n:\n\n', []],
    [`:${'x'.repeat(3000)}\0\ndata: a\n\n`, ['a']],
    ['data: a\0b\n\n', ['a\0b']],
    ['\n\n\ndata: a\n\n\n\n', ['a']],
    ['\uFEFFdata: a\n\n', ['a']],
    ['\uFEFF\uFEFFdata: a\n\ndata: b\n\n', ['b']],
    ['data: a\u2028b\u2029c\u0085d\n\n', ['a\u2028b\u2029c\u0085d']],
    ['data: a\u2028b\ndata: \u0085c\n\n', ['a\u2028b\n\u0085c']],
    ['data: Xin chào 👋🏽 世界\n\n', ['Xin chào 👋🏽 世界']],
    ['data: a\n\ndata: cut', ['a']],
    ['data: a\r\n\r\ndata: b\r\r', ['a', 'b']]
  ]

  for (const [i, [stream, data]] of cases.entries()) t.strictSame(dataOf(stream), data, `case ${i}`)
})

t.test('EventStreamParser replaces invalid UTF-8', async (t) => {
  const bytes = Buffer.concat([Buffer.from('data: a'), Buffer.from([0xFF, 0xF0, 0x9F]), Buffer.from('b\ndata: '), Buffer.from([0xC3]), Buffer.from('\n\n')])

  t.strictSame(dataOf(bytes), ['a\uFFFD\uFFFDb\n\uFFFD'])
})

t.test('EventStreamParser names events, each anew', async (t) => {
  const { events } = parse('event: a\ndata: 1\n\ndata: 2\n\nevent:\ndata: 3\n\nevent: b\nevent: c\ndata: 4\n\n')

  t.strictSame(events.map((event) => event.event), ['a', 'message', 'message', 'c'])
})

t.test('EventStreamParser tells no event of a block without data', async (t) => {
  t.strictSame(parse('event: ping\n\nid: 1\n\ndata: a\n\n').events, [{ event: 'message', data: 'a', id: '1' }])
})

t.test('EventStreamParser keeps the last event id', async (t) => {
  const { events } = parse('id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n')

  t.strictSame(events.map((event) => event.id), ['1', '1', '1', ''])
})

t.test('EventStreamParser reads reconnection times of digits only', async (t) => {
  const retryOf = (value: string): number | undefined => parse(`retry: ${value}\ndata: a\n\n`).events[0]?.retry

  t.equal(retryOf('1500'), 1500)
  t.equal(retryOf('99999999999999999999'), 2_147_483_647)
  for (const value of ['1000x', '-1', '+1', '1.5', '', '١']) t.equal(retryOf(value), undefined, value)
  t.strictSame(parse('retry: 5\n\ndata: a\n\ndata: b\n\n').events.map((event) => event.retry), [5, undefined])
})

t.test('EventStreamParser gives the unterminated rest only at the end', async (t) => {
  t.strictSame(parse('data: a\n\ndata: [DONE]').rest, { event: 'message', data: '[DONE]', id: '' })
  t.strictSame(parse('id: 7\nevent: x\ndata: b\n').rest, { event: 'x', data: 'b', id: '7' })
  t.equal(parse('data: a\n\n').rest, undefined)
  t.equal(parse('data: a\n\n: comment').rest, undefined)
})

t.test('EventStreamParser surfaces fields named error', async (t) => {
  t.strictSame(parse('error: {"code":500}\n\n').events, [{ event: 'message', data: '', id: '', errorField: '{"code":500}' }])
  t.strictSame(parse('error: a\ndata: b\nerror: c\n\n').events, [{ event: 'message', data: 'b', id: '', errorField: 'a\nc' }])
})

t.test('EventStreamParser throws for a frame over its limit', async (t) => {
  const parser = new EventStreamParser({ maxFrameBytes: 10 })

  t.strictSame(parser.push(Buffer.from('data: a\n\n: a long comment')).map((event) => event.data), ['a'])
  t.throws(() => parser.end(), { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' })
})

t.test('parseBlock() reads one line as it reads several', async (t) => {
  t.strictSame(parseBlock(Buffer.from('data: a')), { data: 'a' })
  t.strictSame(parseBlock(Buffer.from('data:a')), { data: 'a' })
  t.strictSame(parseBlock(Buffer.from('data: a\r')), { data: 'a' })
  t.strictSame(parseBlock(Buffer.from('dat: a')), {})
  t.strictSame(parseBlock(Buffer.from('event: e\r\ndata: a\rid: 1\nretry: 2')), { event: 'e', id: '1', retry: 2, data: 'a' })
})

t.test('EventStreamParser gives back any data that was written as lines', async () => {
  const value = fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, ''))

  fc.assert(fc.property(fc.array(fc.array(value, { minLength: 1 })), fc.constantFrom('\n', '\r', '\r\n'), fc.integer({ min: 1, max: 9 }), (events, end, size) => {
    const stream = Buffer.from(events.map((lines) => lines.map((line) => `data: ${line}${end}`).join('') + end).join(''))
    const pieces: Uint8Array[] = []
    for (let start = 0; start < stream.length; start += size) pieces.push(stream.subarray(start, start + size))
    assert.deepEqual(parse(...pieces).events.map((event) => event.data), events.map((lines) => lines.join('\n')))
  }))
})
