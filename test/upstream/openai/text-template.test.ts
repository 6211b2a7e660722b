import t from 'tap'
import type { StreamEvent } from '../../../lib/schemas/stream-event.ts'
import { MAX_FRAME_BYTES, learnTemplate, type TextTemplate } from '../../../lib/upstream/openai/text-template.ts'

const OPENAI = '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"usage":null}'

type TextEvent = Extract<StreamEvent, { text: string }>

function learn (json: string, { text = 'TEXT', type = 'text-delta', block = `data: ${json}` }: { text?: string, type?: TextEvent['type'], block?: string } = {}): TextTemplate | undefined {
  return learnTemplate(Buffer.from(block), { text: json, json: JSON.parse(json) }, [{ type, choice: 0, text }])
}

t.test('a frame with one text is a template', async (t) => {
  const chunkHead = '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"'
  const tail = '"},"logprobs":null,"finish_reason":null}],"usage":null}'

  t.match(learn(OPENAI), {
    type: 'text-delta',
    choice: 0,
    head: { text: `data: ${chunkHead}` },
    beforePadding: undefined,
    ending: { text: `${tail}\n\n` }
  })
})

t.test('the text may be in any field that has one, beside a role and empty ones', async (t) => {
  const of = (delta: string, type: TextEvent['type']): unknown => learn(`{"choices":[{"delta":{${delta}}}]}`, { type })?.head.text

  t.equal(of('"content":"TEXT"', 'text-delta'), 'data: {"choices":[{"delta":{"content":"')
  t.equal(of('"role":"assistant","content": "TEXT","tool_calls":[],"refusal":null', 'text-delta'), 'data: {"choices":[{"delta":{"role":"assistant","content": "')
  t.equal(of('"content":"","reasoning_content":"TEXT"', 'reasoning-delta'), 'data: {"choices":[{"delta":{"content":"","reasoning_content":"')
  t.equal(of('"content":null,"reasoning":"TEXT"', 'reasoning-delta'), 'data: {"choices":[{"delta":{"content":null,"reasoning":"')
  t.equal(of('"refusal":"TEXT"', 'refusal-delta'), 'data: {"choices":[{"delta":{"refusal":"')
})

t.test('padding is no part of the template', async (t) => {
  const template = learn('{"choices":[{"delta":{"content":"TEXT"}}],"obfuscation":"aB3","x":1}')

  t.equal(template?.beforePadding?.text, '"}}],"obfuscation":"')
  t.equal(template?.ending.text, '","x":1}\n\n')
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
