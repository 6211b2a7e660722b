import t from 'tap'
import type { ReconnectOptions, StateChange } from '../../types/client.ts'
import { ChatError } from '../../lib/client/errors.ts'
import { createRetries, isRetryableClose } from '../../lib/client/retries.ts'

const failure = (details: ConstructorParameters<typeof ChatError>[2] = {}): ChatError => new ChatError('connection', 'No', { retryable: true, ...details })

/** Retries whose waits are told, and not waited for. */
function startRetries (options?: ReconnectOptions | false): { next: (error: ChatError) => StateChange | undefined, reset: () => void } {
  const { setTimeout } = globalThis
  let told: StateChange | undefined
  const { wait, reset } = createRetries(options, (change) => { told = change })
  return {
    reset,
    next (error) {
      told = undefined
      globalThis.setTimeout = ((callback: () => void) => { callback() }) as never
      wait(error, new AbortController().signal).catch((thrown: unknown) => { if (thrown !== error) throw thrown })
      globalThis.setTimeout = setTimeout
      return told
    }
  }
}

/** Makes chance a number of the test's. */
function withChance (value: number, run: () => void): void {
  const { random } = Math
  Math.random = () => value
  try {
    run()
  } finally {
    Math.random = random
  }
}

t.test('waits double from 1 s to 30 s, five times', async (t) => {
  withChance(1, () => {
    const retries = startRetries()

    const waits = Array.from({ length: 7 }, () => retries.next(failure()))

    t.same(waits.map((change) => change && { state: change.state, attempt: change.attempt, delayMs: change.delayMs }),
      [1_000, 2_000, 4_000, 8_000, 16_000, undefined, undefined].map((delayMs, index) => delayMs && { state: 'waiting', attempt: index + 1, delayMs }))
  })
})

t.test('a wait is any part of its bound', async (t) => {
  withChance(0, () => t.equal(startRetries().next(failure())?.delayMs, 0))
  withChance(0.25, () => t.equal(startRetries().next(failure())?.delayMs, 250))
  const retries = startRetries({ maxTries: 1_000 })
  for (let tries = 0; tries < 1_000; tries++) {
    const { delayMs = NaN } = retries.next(failure()) ?? {}
    t.ok(delayMs >= 0 && delayMs <= 30_000)
  }
})

t.test('a bound is never over maxDelayMs', async (t) => {
  withChance(1, () => {
    const retries = startRetries({ maxTries: 7, initialDelayMs: 1_000, maxDelayMs: 3_000 })
    t.same(Array.from({ length: 3 }, () => retries.next(failure())?.delayMs), [1_000, 2_000, 3_000])
  })
})

t.test('a success counts anew', async (t) => {
  const retries = startRetries({ maxTries: 1 })

  t.equal(retries.next(failure())?.attempt, 1)
  t.equal(retries.next(failure()), undefined)
  retries.reset()
  t.equal(retries.next(failure())?.attempt, 1)
})

t.test('nothing is tried again that would fail again, or with reconnect: false', async (t) => {
  t.equal(startRetries().next(failure({ retryable: false })), undefined)
  t.equal(startRetries(false).next(failure()), undefined)
  t.equal(startRetries({ maxTries: 0 }).next(failure()), undefined)
})

t.test('Retry-After is the shortest wait, and one over maxDelayMs is not waited', async (t) => {
  withChance(0, () => {
    t.equal(startRetries().next(failure({ retryAfterMs: 2_500 }))?.delayMs, 2_500)
    t.equal(startRetries().next(failure({ retryAfterMs: 30_001 })), undefined)
  })
  withChance(1, () => t.equal(startRetries().next(failure({ retryAfterMs: 500 }))?.delayMs, 1_000))
})

t.test('close code 1013 asks for a longer wait', async (t) => {
  withChance(1, () => t.equal(startRetries().next(failure({ closeCode: 1013 }))?.delayMs, 4_000))
})

t.test('a failure that is not tried again is thrown, and an aborted wait throws the reason', async (t) => {
  const final = failure({ retryable: false })
  const reason = new Error('not wanted')
  const controller = new AbortController()
  const { wait } = createRetries({}, () => {})

  await t.rejects(wait(final, controller.signal), final)
  const waiting = wait(failure(), controller.signal)
  controller.abort(reason)
  await t.rejects(waiting, reason)
})

t.test('a wait of no time is one', async (t) => {
  const { wait } = createRetries({ initialDelayMs: 0 }, () => {})
  await wait(failure(), new AbortController().signal)
  t.pass('it has an end')
})

t.test('close codes that blame the client are final', async (t) => {
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1014, 4000, 4408, 4429, 4500]) t.ok(isRetryableClose(code), `${code}`)
  for (const code of [1000, 1003, 1007, 1008, 1009, 4400, 4401, 4403]) t.notOk(isRetryableClose(code), `${code}`)
})
