import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { FrameSplitter } from '../../lib/event-stream/frame-splitter.ts'

const MIB = 1024 * 1024

/** Blocks and unterminated rest of a stream that arrives in the given pieces. */
function split (pieces: Uint8Array[], maxFrameBytes = MIB): { blocks: string[], rest: string | undefined } {
  const splitter = new FrameSplitter({ maxFrameBytes })
  const blocks = pieces.flatMap((piece) => splitter.push(piece)).map((block) => block.toString('latin1'))
  return { blocks, rest: splitter.end()?.toString('latin1') }
}

/** Blocks until the first error, which is told as a block. */
function splitUntilError (pieces: Uint8Array[], maxFrameBytes: number): string[] {
  const splitter = new FrameSplitter({ maxFrameBytes })
  const blocks: string[] = []
  try {
    for (const piece of pieces) blocks.push(...splitter.push(piece).map((block) => block.toString('latin1')))
    splitter.end()
  } catch (error) {
    blocks.push((error as { code: string }).code)
  }
  return blocks
}

function cut (bytes: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let start = 0; start < bytes.length; start += size) pieces.push(bytes.subarray(start, start + size))
  return pieces
}

function cutAt (bytes: Uint8Array, places: number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
}

/** What the specification says, in the simplest way that is right. */
function splitNaively (bytes: Uint8Array): { blocks: string[], rest: string | undefined } {
  const text = Buffer.from(bytes).toString('latin1').replace(/^\xEF\xBB\xBF/, '')
  const blocks: string[] = []
  let block = ''
  let rest = text
  for (let match; (match = /\r\n|\n|\r/.exec(rest)) !== null;) {
    const line = rest.slice(0, match.index)
    if (line !== '') block += line + match[0]
    else if (block !== '') block = (blocks.push(block), '')
    rest = rest.slice(match.index + match[0].length)
  }
  const open = block + rest
  return { blocks: blocks.map(chomp), rest: open === '' ? undefined : chomp(open) }
}

function chomp (block: string): string {
  return block.replace(/(\r\n|\n|\r)$/, '')
}

t.test('FrameSplitter ends blocks at blank lines of every kind', async (t) => {
  const cases: Array<[string, string[], string | undefined]> = [
    ['a\n\nb\n\n', ['a', 'b'], undefined],
    ['a\r\n\r\nb\r\n\r\n', ['a', 'b'], undefined],
    ['a\r\rb\r\r', ['a', 'b'], undefined],
    ['a\n\r\nb\r\n\nc\r\n\rd\n\r', ['a', 'b', 'c', 'd'], undefined],
    ['a\r\n\r\n\r\n\n\r\rb\n\n', ['a', 'b'], undefined],
    ['\n\n\r\n\ra\nb\r\nc\rd\n\n', ['a\nb\r\nc\rd'], undefined],
    ['a\n\nb', ['a'], 'b'],
    ['a\n\nb\r\n', ['a'], 'b'],
    ['a\n', [], 'a'],
    ['', [], undefined],
    ['\n\n', [], undefined]
  ]

  for (const [text, blocks, rest] of cases) {
    const bytes = Buffer.from(text)
    t.strictSame(split([bytes]), { blocks, rest }, JSON.stringify(text))
    t.strictSame(split(cut(bytes, 1)), { blocks, rest }, JSON.stringify(text) + ' byte by byte')
  }
})

t.test('FrameSplitter gives a block at once when its last byte is a CR', async (t) => {
  const splitter = new FrameSplitter({ maxFrameBytes: MIB })

  t.strictSame(splitter.push(Buffer.from('a\r\n\r')).map(String), ['a'])
  t.strictSame(splitter.push(Buffer.from('\n')).map(String), [])
  t.strictSame(splitter.push(Buffer.from('b\r')).map(String), [])
  t.strictSame(splitter.push(new Uint8Array(0)).map(String), [])
  t.strictSame(splitter.push(Buffer.from('\n\nc\r\r')).map(String), ['b', 'c'])
  t.equal(splitter.end(), undefined)
})

t.test('FrameSplitter drops one leading BOM, also a cut one', async (t) => {
  const bom = Buffer.from('\uFEFF')
  const stream = Buffer.concat([bom, bom, Buffer.from('a\n\n')])

  for (const pieces of [[stream], cut(stream, 1), cut(stream, 2), cutAt(stream, [2])]) {
    t.strictSame(split(pieces).blocks, ['\xEF\xBB\xBFa'])
  }
  t.strictSame(split([Buffer.from([0xEF]), Buffer.from([0xBB]), Buffer.from('a\n\n')]).blocks, ['\xEF\xBBa'])
  t.strictSame(split([Buffer.from([0xEF, 0xBB])]), { blocks: [], rest: '\xEF\xBB' })
  t.strictSame(split([bom]), { blocks: [], rest: undefined })
})

t.test('FrameSplitter shares the memory of blocks that lie within a chunk, and keeps no chunk alive for others', async (t) => {
  const splitter = new FrameSplitter({ maxFrameBytes: MIB })
  const chunk = Buffer.from('data: a\n\ndata: b')

  const [first] = splitter.push(chunk)
  const [second] = splitter.push(Buffer.from('c\n\ndata: d\n'))
  chunk.fill(0)
  const [third] = splitter.push(Buffer.from('\n'))

  t.equal(first?.buffer, chunk.buffer)
  t.equal(String(second), 'data: bc')
  t.equal(String(third), 'data: d')
  t.equal(String(second), 'data: bc', 'a block that was handed out is not written over')
})

t.test('FrameSplitter takes views on larger buffers', async (t) => {
  const bytes = new TextEncoder().encode('xxdata: a\n\nxx')

  t.strictSame(split([bytes.subarray(2, 11)]).blocks, ['data: a'])
})

t.test('FrameSplitter gives the same blocks however any bytes are cut', async () => {
  const byte = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(10, 13, 58, 0xEF, 0xBB, 0xBF) }, fc.integer({ min: 0, max: 255 }))
  const stream = fc.array(byte, { maxLength: 60 }).map((bytes) => Uint8Array.from(bytes))

  fc.assert(fc.property(stream, fc.array(fc.nat()), (bytes, places) => {
    const expected = splitNaively(bytes)
    assert.deepEqual(split([bytes]), expected)
    assert.deepEqual(split(cutAt(bytes, places)), expected)
  }), { numRuns: 5000 })
})

t.test('FrameSplitter tells a block over its limit the same way however the bytes are cut', async () => {
  const line = fc.constantFrom('\n', '\r', '\r\n', 'a', 'ab', 'abcdefgh', ': comment')

  fc.assert(fc.property(fc.array(line, { maxLength: 12 }), fc.array(fc.nat()), fc.integer({ min: 3, max: 12 }), (lines, places, limit) => {
    const bytes = Buffer.from(lines.join(''))
    assert.deepEqual(splitUntilError(cutAt(bytes, places), limit), splitUntilError([bytes], limit))
  }), { numRuns: 1000 })
})

t.test('FrameSplitter throws as soon as a block is over its limit', async (t) => {
  const tooLarge = { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE', statusCode: 502 }
  const limited = (): FrameSplitter => new FrameSplitter({ maxFrameBytes: 8 })

  t.throws(() => limited().push(Buffer.from('data: 789')), tooLarge, 'an open block')
  t.throws(() => limited().push(Buffer.from('data: 78\n\n')), tooLarge, 'a whole block, line end included')
  t.throws(() => limited().push(Buffer.from('data: 78\r\r')), tooLarge, 'of another line end')
  t.throws(() => limited().push(Buffer.from(': comment')), tooLarge, 'a comment')
  t.throws(() => limited().push(Buffer.from(':\n:\n:\n:\n:\n')), tooLarge, 'many short comments')
  t.strictSame(limited().push(Buffer.from('data: 7\n\ndata: 7\n\n')).map(String), ['data: 7', 'data: 7'])

  const splitter = limited()
  splitter.push(Buffer.from('data: '))
  t.throws(() => splitter.push(Buffer.from('789\n\n')), tooLarge, 'a block in pieces')
  t.throws(() => splitter.push(Buffer.from('a\n\n')), tooLarge, 'and stays so')
})

t.test('FrameSplitter returns the blocks that precede one over its limit before it throws', async (t) => {
  const tooLarge = { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' }
  for (const end of ['\n', '\r']) {
    const splitter = new FrameSplitter({ maxFrameBytes: 4 })

    t.strictSame(splitter.push(Buffer.from(`a${end}${end}too long${end}${end}b${end}${end}`)).map(String), ['a'])
    t.throws(() => splitter.push(new Uint8Array(0)), tooLarge)
    t.throws(() => splitter.end(), tooLarge)
  }
})

t.test('FrameSplitter takes linear time for lines of many MiB in small pieces', async (t) => {
  for (const [size, endings] of [[MIB, '\n\n'], [8 * MIB, '\n\n'], [8 * MIB, '\r\n\r\n']] as const) {
    const pieces = cut(Buffer.concat([Buffer.alloc(size, 0x61), Buffer.from(endings)]), 64)
    const splitter = new FrameSplitter({ maxFrameBytes: 16 * MIB })
    const startedAt = performance.now()

    const blocks = pieces.flatMap((piece) => splitter.push(piece))

    const ms = performance.now() - startedAt
    t.equal(blocks[0]?.length, size)
    // 15 to 60 ms where this was written; copying the carry-over for every piece would take minutes.
    t.ok(ms < 30_000, `${size / MIB} MiB in ${ms.toFixed(1)} ms`)
  }
})
