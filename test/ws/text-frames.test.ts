import type { Writable } from 'node:stream'
import * as ws from 'ws'
import t from 'tap'
import { encodeTextFrames } from '../../lib/ws/text-frames.ts'

// Its types do not know it.
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Writable }

/** The messages that `ws` reads. */
function messagesIn (bytes: Buffer): Promise<string[]> {
  const messages: string[] = []
  const receiver = new Receiver({ isServer: false })
  receiver.on('message', (data: Buffer, isBinary: boolean) => messages.push(isBinary ? 'binary' : data.toString()))
  return new Promise((resolve, reject) => {
    receiver.on('error', reject)
    receiver.end(bytes, () => resolve(messages))
  })
}

t.test('texts become text messages, whatever length their header has', async (t) => {
  const texts = [0, 1, 125, 126, 127, 255, 256, 65_535].map((length) => 'x'.repeat(length))

  t.strictSame(await messagesIn(encodeTextFrames(texts)), texts)
  t.equal(encodeTextFrames([]).length, 0)
})

t.test('characters beyond ASCII are as many bytes', async (t) => {
  const texts = ['é', '日本', '🙂'.repeat(40)]
  const bytes = encodeTextFrames(texts.map((text) => Buffer.from(text).toString('latin1')))

  t.strictSame(await messagesIn(bytes), texts)
})

t.test('a text that no run has is refused', async (t) => {
  t.throws(() => encodeTextFrames(['x'.repeat(65_536)]), { name: 'RangeError', message: /65536 bytes/ })
})
