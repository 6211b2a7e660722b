import t from 'tap'
import { startRun } from '../../lib/stream/core.ts'
import { ItemStage } from '../../lib/stream/item-stage.ts'
import { deferred, turn } from '../helper.ts'
import { createHub } from '../ws/helper.ts'

t.test('a source that asks for the signal only when the stream was stopped learns of that', async (t) => {
  const { core, log, options } = createHub()
  const go = deferred()
  let signal: AbortSignal | undefined
  const run = startRun(core, { transport: 'sse', options, log }, async (context) => {
    await go.promise
    signal = context.signal
    return { iterator: [][Symbol.iterator]() as never, stage: new ItemStage() }
  })
  const first = run.begin()

  run.stop('stop')
  await t.rejects(first, { code: 'LLM_ERR_STOPPED' })
  t.equal(signal, undefined)
  go.resolve()
  await turn()

  t.equal(signal?.reason, run.error)
  t.equal(run.signal, signal)
  await run.finish(0)
})

t.test('a source that stops its stream while it opens is closed, and never asked', async (t) => {
  const { core, log, options } = createHub()
  const seen: string[] = []
  const iterator = {
    next: async () => { seen.push('next'); return { done: true, value: undefined } as const },
    return: async () => { seen.push('return'); return { done: true, value: undefined } as const }
  }
  const run = startRun(core, { transport: 'sse', options, log }, () => {
    run.stop('stop')
    return { iterator, stage: new ItemStage() }
  })

  await t.rejects(run.begin(), { code: 'LLM_ERR_STOPPED' })

  t.strictSame(seen, ['return'])
  await run.finish(0)
})

t.test('a hook that begins behind others may stop its stream before the source is asked', async (t) => {
  const { core, log, options } = createHub()
  const asked: string[] = []
  const hooks = [{}, {}].map((_, index) => ({ onStreamStart: async () => { if (index === 1) run.stop('stop') } }))
  const run = startRun(core, { transport: 'sse', options: { ...options, hooks }, log }, () => ({
    iterator: { next: async () => { asked.push('next'); return { done: true, value: undefined } } },
    stage: new ItemStage()
  }))

  await t.rejects(run.begin(), { code: 'LLM_ERR_STOPPED' })

  t.strictSame(asked, [])
  await run.finish(0)
})
