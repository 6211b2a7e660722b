import t from 'tap'
import { completion } from '../../../lib/ws/dialects/completion.ts'
import { native } from '../../../lib/ws/dialects/native.ts'
import { request } from '../../../lib/ws/dialects/request.ts'

const texts = ['a', ' \\n', 'é"\\ud83d\\ude42'.replace('"', '\\"'), '日本']

for (const dialect of [native, completion, request]) {
  t.test(`${dialect.name} writes the texts of a run as it writes their events`, async (t) => {
    for (const type of ['text-delta', 'reasoning-delta', 'refusal-delta'] as const) {
      for (const choice of [0, 1]) {
        for (const id of ['c1', 'é"\u0001']) {
          const chat = { id, whole: false, includeUsage: false, maxBytes: 0 }
          const events = texts.map((text) => ({ type, choice, text: JSON.parse(`"${text}"`) as string }))
          const values = dialect.format(chat).run?.({ type, choice, texts: texts.map((text) => Buffer.from(text).toString('latin1')) })

          const written = (values as string[]).map((value) => Buffer.from(value, 'latin1').toString())
          t.strictSame(written.map((value) => JSON.parse(value)), dialect.format(chat).values({ events }).map((value) => JSON.parse(value)))
        }
      }
    }
  })
}

t.test('a chat without an id has none in its run', async (t) => {
  for (const dialect of [completion, request]) {
    const values = dialect.format({ id: undefined, whole: false, includeUsage: false, maxBytes: 0 }).run?.({ type: 'text-delta', choice: 0, texts: ['a'] })
    t.notMatch(values, /"id"/)
  }
})
