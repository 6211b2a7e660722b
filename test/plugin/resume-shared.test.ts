import t from 'tap'
import { ProducerLostError, StoreUnavailableError, memoryStore, type StreamStore } from '../../lib/index.ts'
import { soon, fetchText } from '../helper.ts'
import { boundOf, createResumeApp, read } from './resume-helper.ts'

/** A memory store that differs in something, as one that instances share may. */
function storeWith (change: (store: StreamStore) => Partial<StreamStore>): StreamStore {
  const store = boundOf(memoryStore())
  return { ...store, ...change(store) }
}

t.test('a stream that is not in the store yet is looked for once more', async (t) => {
  const asked: string[] = []
  const store = storeWith(({ status }) => ({
    async status (id) {
      asked.push(id)
      return asked.length === 1 ? undefined : await status(id)
    }
  }))
  const { upstream, port } = await createResumeApp(t, { store })
  const first = await read({ port, path: '/chat', method: 'POST' })
  upstream.say('Hello')
  upstream.finish()
  await soon('the end', first.over)

  const again = await read({ port, path: `/streams/${String(first.headers['x-stream-id'])}?after=0` })
  await soon('the end', again.over)

  t.equal(again.status, 200)
  t.same(again.blocks(), first.blocks())
  t.equal(asked.length, 2)
})

t.test('an unknown stream is asked for twice, and one that cannot be ours never', async (t) => {
  let asked = 0
  const { port } = await createResumeApp(t, { store: storeWith(() => ({ async status () { asked++; return undefined } })) })

  t.equal((await fetchText({ port, path: '/streams/0d5a7c1e-0000-4000-8000-000000000000' })).status, 404)
  t.equal(asked, 2)
  t.equal((await fetchText({ port, path: '/streams/%7Bforged%7D' })).status, 404)
  t.equal(asked, 2)
})

for (const error of [new ProducerLostError(), new StoreUnavailableError()]) {
  t.test(`a reader that gets ${error.code} may ask anew`, async (t) => {
    const store = storeWith((whole) => ({
      async * read (id, after, signal) {
        const first = await whole.read(id, after, signal)[Symbol.asyncIterator]().next()
        yield first.value
        throw error
      }
    }))
    const { upstream, port } = await createResumeApp(t, { store })
    const first = await read({ port, path: '/chat', method: 'POST' })
    upstream.say('Hello')

    const again = await read({ port, path: `/streams/${String(first.headers['x-stream-id'])}?after=0` })
    await soon('the end', again.over)
    upstream.finish()

    t.match(again.blocks().at(-1)?.data, { type: 'error', error: { message: error.message, retryable: true } })
  })
}
