import t from 'tap'
import { findRuns as iterateRuns, type FoundRun, type Section } from '../../../lib/upstream/openai/find-runs.ts'
import { MAX_FRAME_BYTES, learnTemplate, type TextTemplate } from '../../../lib/upstream/openai/text-template.ts'

const OPENAI = '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"usage":null}'

function learn (json: string): TextTemplate {
  return learnTemplate(Buffer.from(`data: ${json}`), { text: json, json: JSON.parse(json) }, [{ type: 'text-delta', choice: 0, text: 'TEXT' }]) as TextTemplate
}

const template = learn(OPENAI)
const frame = (text: string, json = OPENAI): string => `data: ${json.replace('TEXT', text)}\n\n`

/** `+N` for a run of N frames, `-` for another block. */
function shape (sections: readonly Section[]): string {
  return sections.map(({ run }) => run === undefined ? '-' : `+${run.starts.length}`).join(' ')
}

const findRuns = (bytes: string, from: number, template: TextTemplate): Section[] => [...iterateRuns(Buffer.from(bytes), from, template)]

/** What stands between some places of the first run. */
function between (bytes: string, { start = 0, run }: Partial<Section> = {}, ends: 'textEnds' | 'ends' = 'textEnds'): string[] {
  const found = run as FoundRun
  return found.starts.map((from, index) => Buffer.from(bytes).toString('utf8', start + from, start + (found[ends][index] as number)))
}

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
  const bytes = texts.map((text) => frame(text)).join('')
  const [section] = findRuns(bytes, 0, template)

  t.strictSame(between(bytes, section), texts)
  t.equal(section?.run?.ends, section?.run?.textEnds)
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

  const sections = findRuns(before + frame('b'), before.length, template)
  t.match(sections, [{ start: before.length, end: 2 * before.length }])
  t.strictSame(between(before + frame('b'), sections[0]), ['b'])
})

t.test('padding may be any letters, and nothing else', async (t) => {
  const json = '{"choices":[{"delta":{"content":"TEXT"}}],"obfuscation":"PADDING"}'
  const template = learn(json)
  const padded = (text: string, padding: string): string => frame(text, json).replace('PADDING', padding)

  const bytes = padded('a', 'Ab1') + padded('b', '') + padded('c', '0123456789')
  const [section] = findRuns(bytes, 0, template)
  t.strictSame(between(bytes, section), ['a', 'b', 'c'])
  t.strictSame(between(bytes, section, 'ends'), ['a"}}],"obfuscation":"Ab1', 'b"}}],"obfuscation":"', 'c"}}],"obfuscation":"0123456789'])
  for (const wrong of ['\\n', 'a\u0001', 'a","usage":{"x":"']) t.equal(shape(findRuns(padded('a', wrong) + padded('b', 'x'), 0, template)), '- +1', JSON.stringify(wrong))
  t.equal(shape(findRuns(padded('a', 'x').replace('obfuscation', 'obfuscatioN') + padded('b', 'x'), 0, template)), '- +1')
  t.equal(shape(findRuns(padded('a', 'x') + padded('b', 'x').replace('"choices"', '"choiceS"'), 0, template)), '+1 -', 'the run that is left has its own texts')
})

t.test('a run may be as long as the bytes are', async (t) => {
  for (const count of [1, 2, 1_000]) {
    const texts = Array.from({ length: count }, (_, index) => `t${index}`)
    const bytes = texts.map((text) => frame(text)).join('')

    const [section, ...others] = findRuns(bytes + frame('x').replace('"created":1', '"created":2'), 0, template)
    t.strictSame(between(bytes, section), texts)
    t.equal(section?.end, bytes.length)
    t.equal(shape(others), '-')
    t.equal(shape(findRuns(bytes, 0, template)), `+${count}`)
  }
})

t.test('frames that look alike until they are compared are not all compared again and again', async (t) => {
  // Compared to the end for each frame, these would be hundreds of millions of comparisons of 60 bytes.
  const other = frame('a').replace('"usage":null', '"usage":nulL')
  const count = 30_000

  t.equal(findRuns(other.repeat(count), 0, template).length, count)
})
