import t from 'tap'
import type { StreamEvent } from '../../../lib/schemas/stream-event.ts'
import { findRuns, learnTemplate, MAX_FRAME_BYTES, type Section, type TextTemplate } from '../../../lib/upstream/openai/text-template.ts'

const OPENAI = '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"usage":null}'

type TextEvent = Extract<StreamEvent, { text: string }>

function learn (json: string, { text = 'TEXT', type = 'text-delta', block = `data: ${json}` }: { text?: string, type?: TextEvent['type'], block?: string } = {}): TextTemplate | undefined {
  return learnTemplate(Buffer.from(block), { text: json, json: JSON.parse(json) }, [{ type, choice: 0, text }])
}

const template = learn(OPENAI) as TextTemplate
const frame = (text: string, json = OPENAI): string => `data: ${json.replace('TEXT', text)}\n\n`
const binary = (text: string): string => Buffer.from(text).toString('latin1')

/** `+N` for a run of N frames, `-` for another block. */
function shape (sections: readonly Section[]): string {
  return sections.map(({ run }) => run === undefined ? '-' : `+${run.texts.length}`).join(' ')
}

t.test('a frame with one text is a template', async (t) => {
  t.strictSame(learn(OPENAI), {
    type: 'text-delta',
    choice: 0,
    head: 'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"',
    chunkHead: '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"',
    beforePadding: undefined,
    tail: '"},"logprobs":null,"finish_reason":null}],"usage":null}'
  })
})

t.test('the text may be in any field that has one, beside a role and empty ones', async (t) => {
  const of = (delta: string, type: TextEvent['type']): unknown => learn(`{"choices":[{"delta":{${delta}}}]}`, { type })?.head

  t.equal(of('"content":"TEXT"', 'text-delta'), 'data: {"choices":[{"delta":{"content":"')
  t.equal(of('"role":"assistant","content": "TEXT","tool_calls":[],"refusal":null', 'text-delta'), 'data: {"choices":[{"delta":{"role":"assistant","content": "')
  t.equal(of('"content":"","reasoning_content":"TEXT"', 'reasoning-delta'), 'data: {"choices":[{"delta":{"content":"","reasoning_content":"')
  t.equal(of('"content":null,"reasoning":"TEXT"', 'reasoning-delta'), 'data: {"choices":[{"delta":{"content":null,"reasoning":"')
  t.equal(of('"refusal":"TEXT"', 'refusal-delta'), 'data: {"choices":[{"delta":{"refusal":"')
})

t.test('padding is no part of the template', async (t) => {
  const template = learn('{"choices":[{"delta":{"content":"TEXT"}}],"obfuscation":"aB3","x":1}')

  t.equal(template?.beforePadding, '"}}],"obfuscation":"')
  t.equal(template?.tail, '","x":1}')
})

t.test('a frame that means more than its text, or not only that, is no template', async (t) => {
  const delta = (fields: string, more = ''): string => `{"choices":[{"delta":{${fields}}}]${more}}`
  const refused: Record<string, ReturnType<typeof learn>> = {
    'a second text': learn(delta('"content":"TEXT","reasoning_content":"TEXT"')),
    'a tool call': learn(delta('"content":"TEXT","tool_calls":[{"index":0}]')),
    usage: learn(delta('"content":"TEXT"', ',"usage":{}')),
    'usage of Groq': learn(delta('"content":"TEXT"', ',"x_groq":{"id":"r"}')),
    'usage of Moonshot': learn('{"choices":[{"delta":{"content":"TEXT"},"usage":{}}]}'),
    'log probabilities': learn('{"choices":[{"delta":{"content":"TEXT"},"logprobs":{"content":[]}}]}'),
    'two choices': learn('{"choices":[{"delta":{"content":"TEXT"}},{"delta":{}}]}'),
    'no choices': learn('{"content":"TEXT"}'),
    'choices that are no list': learn('{"choices":{"delta":{"content":"TEXT"}}}'),
    'a choice that is no object': learn('{"choices":["x"],"content":"TEXT"}'),
    'no delta': learn('{"choices":[{"message":{"content":"TEXT"}}]}'),
    'a list of parts': learn('{"choices":[{"delta":{"content":[{"type":"text","text":"TEXT"}]}}]}'),
    'a field of that name elsewhere': learn('{"content":"TEXT","choices":[{"delta":{"content":"TEXT"}}]}'),
    'a field twice': learn(delta('"content":"TEXT","content":"TEXT"')),
    'a text of another kind': learn(delta('"content":"TEXT"'), { type: 'refusal-delta' }),
    'several lines': learn(OPENAI, { block: `data: ${OPENAI}\nid: 1` }),
    'a comment': learn(OPENAI, { block: `: hello\ndata: ${OPENAI}` }),
    'no space': learn(OPENAI, { block: `data:${OPENAI}` }),
    'something taken out': learn(OPENAI, { block: `data: ${OPENAI.replace('"m"', '"sk-1"')}` }),
    'a large frame': learn(delta(`"content":"${'x'.repeat(MAX_FRAME_BYTES)}"`))
  }

  for (const [what, template] of Object.entries(refused)) t.equal(template, undefined, what)
  const chunk = { text: OPENAI, json: JSON.parse(OPENAI) }
  t.equal(learnTemplate(Buffer.from(`data: ${OPENAI}`), chunk, []), undefined)
  t.equal(learnTemplate(Buffer.from(`data: ${OPENAI}`), chunk, [{ type: 'raw', data: 1 }]), undefined)
})

t.test('frames that follow each other are one run, and blocks between them are others', async (t) => {
  const other = 'data: {"other":true}\n\n'
  const shapes: Array<[string, string]> = [
    [frame('a'), '+1'],
    [frame('a') + frame('b') + frame('c'), '+3'],
    [other, '-'],
    [other + frame('a') + frame('b'), '- +2'],
    [frame('a') + other + other + frame('b'), '+1 - - +1'],
    [frame('a') + frame('b') + 'data: [DONE]\n\n', '+2 -'],
    [`: comment\n\n${frame('a')}\n${frame('b')}`, '- +1 - '.trim()],
    ['', '']
  ]
  for (const [bytes, expected] of shapes) {
    const sections = findRuns(bytes, 0, template)
    t.equal(shape(sections), expected)
    t.equal(sections.at(-1)?.end ?? 0, bytes.length, 'sections are all of the bytes')
  }
})

t.test('a run has its texts as they came, and their length', async (t) => {
  const texts = ['a', 'é', '日本', '🙂', '\\n', '\\"', '\\\\', '\\u00e9', '\\ud83d\\ude42', '{}', '\u007f']
  const [section] = findRuns(binary(texts.map((text) => frame(text)).join('')), 0, template)

  t.strictSame(section?.run?.texts, texts.map(binary))
  t.equal(section?.run?.characters, texts.reduce((sum, text) => sum + JSON.parse(`"${text}"`).length, 0))
})

t.test('what is no text of one frame is no part of a run', async (t) => {
  const wrong = ['', '\\x', '\\u12', '\\', 'a\u0001b', 'a\tb', 'x"},"y":{"z":"']
  for (const text of wrong) t.equal(shape(findRuns(frame('a') + frame(text) + frame('b'), 0, template)), '+1 - +1', JSON.stringify(text))

  t.equal(shape(findRuns(frame('a') + frame('x'.repeat(MAX_FRAME_BYTES)), 0, template)), '+1 -')
})

t.test('a run ends before the first frame that differs in one byte', async (t) => {
  const alike = frame('a') + frame('bc')
  for (const [from, to] of [['"id":"c1"', '"id":"c2"'], ['"usage":null', '"usage":nulL'], ['data: ', 'dATa: '], ['"created":1', '"created":2']] as const) {
    const different = frame('x').replace(from, to)
    t.equal(shape(findRuns(alike + different + frame('d'), 0, template)), '+2 - +1', `${to} between`)
    t.equal(shape(findRuns(different + alike, 0, template)), '- +2', `${to} at the start`)
    t.equal(shape(findRuns(alike + different, 0, template)), '+2 -', `${to} at the end`)
  }
})

t.test('a run may begin anywhere', async (t) => {
  const before = frame('a')

  t.match(findRuns(before + frame('b'), before.length, template), [{ start: before.length, end: 2 * before.length, run: { texts: ['b'] } }])
})

t.test('padding may be any letters, and nothing else', async (t) => {
  const json = '{"choices":[{"delta":{"content":"TEXT"}}],"obfuscation":"PADDING"}'
  const template = learn(json) as TextTemplate
  const padded = (text: string, padding: string): string => frame(text, json).replace('PADDING', padding)

  const [section] = findRuns(padded('a', 'Ab1') + padded('b', '') + padded('c', '0123456789'), 0, template)
  t.strictSame(section?.run?.texts, ['a', 'b', 'c'])
  t.strictSame(section?.run?.middles, ['a"}}],"obfuscation":"Ab1', 'b"}}],"obfuscation":"', 'c"}}],"obfuscation":"0123456789'])
  for (const wrong of ['\\n', 'a\u0001', 'a","usage":{"x":"']) t.equal(shape(findRuns(padded('a', wrong) + padded('b', 'x'), 0, template)), '- +1', JSON.stringify(wrong))
  t.equal(shape(findRuns(padded('a', 'x').replace('obfuscation', 'obfuscatioN') + padded('b', 'x'), 0, template)), '- +1')
  t.equal(shape(findRuns(padded('a', 'x') + padded('b', 'x').replace('"choices"', '"choiceS"'), 0, template)), '+1 -', 'the run that is left has its own texts')
})
