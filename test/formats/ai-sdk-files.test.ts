import t from 'tap'
import { toContentPart } from '../../lib/formats/ai-sdk-files.ts'

const file = (mediaType: unknown, url: unknown, rest: object = {}): Record<string, unknown> => ({ type: 'file', mediaType, url, ...rest })
const convert = (part: Record<string, unknown>): unknown => toContentPart(part, 'messages[0].parts[0]')

t.test('texts are texts, and parts that a user does not say are none', async (t) => {
  t.strictSame(convert({ type: 'text', text: 'Hi', state: 'done' }), [{ type: 'text', text: 'Hi' }])
  for (const part of [{ type: 'text', text: '' }, { type: 'text' }, { type: 'text', text: 5 }, { type: 'data-x', data: 1 }, { type: 'step-start' }, {}]) t.strictSame(convert(part), [])
})

t.test('images go by their address or in themselves, whatever their kind', async (t) => {
  for (const type of ['image/png', 'image', 'image/*', 'IMAGE/JPEG']) {
    for (const url of ['https://example.com/a', 'http://example.com/a', 'data:image/png;base64,AAAA']) {
      t.strictSame(convert(file(type, url)), [{ type: 'image_url', image_url: { url } }])
    }
  }
})

t.test('an image whose data: URL has no type is given its own', async (t) => {
  t.strictSame(convert(file('image/png', 'data:;base64,AAAA')), [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }])
  t.strictSame(convert(file('image/png', 'data:,AAAA')), [{ type: 'image_url', image_url: { url: 'data:image/png,AAAA' } }])
})

t.test('sound goes as its data alone', async (t) => {
  t.strictSame(convert(file('audio/wav', 'data:audio/wav;base64,AAAA')), [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }])
  t.strictSame(convert(file('audio/mpeg; codecs=mp3', 'data:audio/mpeg;codecs=mp3;base64,AAAA')), [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'mp3' } }])
})

t.test('a PDF keeps its name, or is given one', async (t) => {
  const url = 'data:application/pdf;base64,AAAA'

  t.strictSame(convert(file('application/pdf', url, { filename: 'a.pdf' })), [{ type: 'file', file: { filename: 'a.pdf', file_data: url } }])
  t.strictSame(convert(file('application/pdf', url)), [{ type: 'file', file: { filename: 'document.pdf', file_data: url } }])
})

t.test('a text file is a text, however its URL is written', async (t) => {
  for (const url of [`data:text/plain;charset=utf-8;base64,${Buffer.from('Xin chào, 50%').toString('base64')}`, 'data:text/plain,Xin%20ch%C3%A0o%2C%2050%25', 'data:,Xin chào, 50%25']) {
    t.strictSame(convert(file('text/plain', url)), [{ type: 'text', text: 'Xin chào, 50%' }])
  }
})

t.test('a file that the API has no place for is refused', async (t) => {
  const files = [
    file('video/mp4', 'data:video/mp4;base64,AAAA'), file('audio/ogg', 'data:audio/ogg;base64,AAAA'), file('audio/wav', 'https://example.com/a.wav'),
    file('application/pdf', 'https://example.com/a.pdf'), file('text/plain', 'https://example.com/a.txt'), file('image/png', 'blob:https://example.com/1'),
    file('image/png', 'file:///etc/passwd'), file('constructor', 'data:,a'), file('__proto__', 'data:,a'), file('image/png', 'data:no-comma')
  ]
  for (const part of files) t.throws(() => convert(part), { code: 'LLM_ERR_INVALID_REQUEST', message: 'Request field "messages[0].parts[0]" is a file that the Chat Completions API has no place for' })
  for (const part of [file(undefined, 'data:,a'), file('', 'data:,a'), file('text/plain', undefined), file(5, 'data:,a')]) {
    t.throws(() => convert(part), { message: 'a file without "mediaType" or "url"' })
  }
  t.throws(() => convert(file('text/plain', 'data:text/plain,%E0%A4%A')), { message: 'a data: URL with a wrong escape' })
})
