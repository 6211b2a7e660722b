import t from 'tap'
import { WholeBlocks } from '../../lib/event-stream/whole-blocks.ts'

function pushAll (pieces: string[], maxFrameBytes = 1024): { pushed: string[], end: string, isPlain: boolean } {
  const blocks = new WholeBlocks({ maxFrameBytes })
  const pushed = pieces.map((piece) => Buffer.concat(blocks.push(Buffer.from(piece))).toString())
  return { pushed, end: blocks.end().toString(), isPlain: blocks.isPlain }
}

t.test('bytes are handed on up to the last blank line, wherever they are cut', async (t) => {
  const stream = 'data: one\n\n: comment\n\ndata: two\ndata: three\n\n\ndata: fo'
  for (let size = 1; size <= stream.length; size++) {
    const pieces = stream.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? []
    const { pushed, end, isPlain } = pushAll(pieces)

    for (const piece of pushed) t.match(piece, /^$|\n$/, `${size}: ends with a line`)
    t.equal(pushed.join('') + end, stream, `${size}: nothing is lost`)
    t.equal(end.trimStart(), 'data: fo', `${size}: the rest is kept for the end`)
    t.equal(isPlain, true)
  }
})

t.test('a blank line that is cut in two ends its block', async (t) => {
  t.strictSame(pushAll(['data: a\n', '\ndata: b\n', 'data: c', '\n\n']).pushed, ['', 'data: a\n\n', '', 'data: b\ndata: c\n\n'])
})

t.test('only the block that began before is put together', async (t) => {
  const blocks = new WholeBlocks({ maxFrameBytes: 1024 })
  blocks.push(Buffer.from('data: a\n\ndata'))
  const piece = Buffer.from(': b\n\ndata: c\n\ndata: d\n\ndata: e')
  const [completed, others, ...more] = blocks.push(piece)
  piece.fill('x')

  t.equal(String(completed), 'data: b\n\n')
  t.equal(String(others), 'x'.repeat('data: c\n\ndata: d\n\n'.length))
  t.strictSame(more, [])
})

t.test('blocks that lie in one piece share its memory, and what is kept does not', async (t) => {
  const blocks = new WholeBlocks({ maxFrameBytes: 1024 })
  const piece = Buffer.from('data: a\n\ndata: b')
  const [whole] = blocks.push(piece)
  piece.fill('x')

  t.equal(String(whole), 'xxxxxxxxx')
  t.equal(blocks.end().toString(), 'data: b')
})

t.test('a stream with CR goes through as it comes, with what was kept before', async (t) => {
  const { pushed, end, isPlain } = pushAll(['data: a\n\ndata', ': b\r', '\n\r\ndata: c\n\n', 'data'])

  t.strictSame(pushed, ['data: a\n\n', 'data: b\r', '\n\r\ndata: c\n\n', 'data'])
  t.equal(end, '')
  t.equal(isPlain, false)
})

t.test('a block over the limit goes through as it comes', async (t) => {
  const { pushed, isPlain } = pushAll(['data: a\n\n1234', '5678', '9', 'more\n\n'], 8)

  t.strictSame(pushed, ['data: a\n\n', '', '123456789', 'more\n\n'])
  t.equal(isPlain, false)
  t.strictSame(pushAll(['data: a\n\n123456789'], 8).pushed, ['data: a\n\n123456789'])
})

t.test('a block in many small pieces is one in the end', async (t) => {
  const blocks = new WholeBlocks({ maxFrameBytes: 8 << 20 })
  const piece = Buffer.alloc(64, 'x')
  let handedOn = 0
  for (let count = 0; count < 16 * 1024; count++) handedOn += blocks.push(piece).length

  t.equal(handedOn, 0)
  t.strictSame(blocks.push(Buffer.from('\n\n')).map(({ length }) => length), [(1 << 20) + 2])
})
