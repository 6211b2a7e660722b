import t, { type Test } from 'tap'
import type { Sink } from '../../types/sink.ts'
import { startRun } from '../../lib/stream/core.ts'
import { ItemStage } from '../../lib/stream/item-stage.ts'
import { pump } from '../../lib/stream/pump.ts'
import { DataEncoder } from '../../lib/sse/data-encoder.ts'
import { deferred, soon, stayAlive, untilAborted } from '../helper.ts'
import { createHub } from '../ws/helper.ts'

/** A sink whose client takes nothing. What is written shows as taken until it leaves, at the end of its turn of the event loop. */
class StalledSink implements Sink {
  blocked = false
  closed = false
  readonly looks: number[] = []
  readonly #over = deferred()
  #waiting = 0

  write (): number {
    this.blocked = true
    process.nextTick(() => { this.#waiting = 100 })
    return 100
  }

  ready (): Promise<void> {
    return this.#over.promise
  }

  end (): Promise<void> {
    return this.#over.promise
  }

  destroy (): void {
    this.closed = true
    this.blocked = false
    this.#over.resolve()
  }

  progress (): number {
    this.looks.push(this.#waiting)
    return -this.#waiting
  }
}

async function pumpInto (t: Test, sink: Sink): Promise<unknown> {
  stayAlive(t)
  const { core, log, options: socket } = createHub()
  const options = { ...socket, stallTimeoutMs: 20 }
  const run = startRun(core, { transport: 'sse', options, log }, ({ signal }) => {
    const items = async function * (): AsyncGenerator<string> {
      yield 'one'
      yield await untilAborted(signal)
    }
    return { iterator: items(), stage: new ItemStage() }
  })
  await soon('the end', pump({ run, encoder: new DataEncoder(false), sink, options, wheel: core.wheel, opening: [] }))
  return run.reason
}

t.test('a client that takes nothing is cut after its time, and not only after twice that', async (t) => {
  const sink = new StalledSink()

  t.equal(await pumpInto(t, sink), 'stalled')
  t.strictSame(sink.looks, [100, 100], 'when what was written has left, and once more')
})
