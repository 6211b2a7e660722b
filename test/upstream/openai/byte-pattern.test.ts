import fc from 'fast-check'
import t from 'tap'
import { BytePattern, bytesOf } from '../../../lib/upstream/openai/byte-pattern.ts'

/** Whether the pattern is where it says, at any place of the bytes and beside them. */
function places (pattern: BytePattern, buffer: Buffer): number[] {
  const bytes = bytesOf(buffer)
  return Array.from({ length: buffer.length + 2 }, (_, start) => start).filter((start) => pattern.isAt(bytes, start))
}

function expectedPlaces (text: string, buffer: Buffer): number[] {
  const wanted = Buffer.from(text, 'latin1')
  return Array.from({ length: buffer.length - wanted.length + 1 }, (_, start) => start)
    .filter((start) => buffer.subarray(start, start + wanted.length).equals(wanted))
}

/** Bytes of few kinds, so that much is nearly alike; none of them makes a double that is no number. */
const letters = (maxLength: number) => fc.string({ unit: fc.constantFrom('a', 'b', '"', 'Ã'), minLength: 1, maxLength })

t.test('a pattern is found where its bytes stand, and nowhere else', async (t) => {
  fc.assert(fc.property(letters(40), letters(40), letters(40), fc.nat(7), (before, text, behind, offset) => {
    const buffer = Buffer.from('x'.repeat(offset) + before + text + behind, 'latin1').subarray(offset)

    t.strictSame(places(new BytePattern(text), buffer), expectedPlaces(text, buffer))
  }), { numRuns: 500 })
})

t.test('a pattern that differs in any one byte is not there', async (t) => {
  const text = 'data: {"choices":[{"delta":'
  const pattern = new BytePattern(text)

  t.equal(pattern.isAt(bytesOf(Buffer.from(text)), 0), true)
  for (let index = 0; index < text.length; index++) {
    const other = Buffer.from(text)
    other[index]!++
    t.equal(pattern.isAt(bytesOf(other), 0), false, `byte ${index}`)
  }
})

t.test('a pattern of which eight bytes are no number is found nowhere', async (t) => {
  const text = 'aaaaaa\u00ff\u007f'

  t.strictSame(places(new BytePattern(text), Buffer.from(text, 'latin1')), [])
  t.strictSame(places(new BytePattern(text.slice(1)), Buffer.from(text, 'latin1')), [1])
})
