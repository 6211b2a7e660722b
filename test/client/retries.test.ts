import t from 'tap'
import { ChatError } from '../../lib/client/errors.ts'
import { createRetries, isRetryableClose } from '../../lib/client/retries.ts'

const failure = (details: ConstructorParameters<typeof ChatError>[2] = {}): ChatError => new ChatError('connection', 'No', { retryable: true, ...details })

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
    const retries = createRetries()

    const waits = Array.from({ length: 7 }, () => retries.next(failure()))

    t.same(waits, [1_000, 2_000, 4_000, 8_000, 16_000, undefined, undefined].map((delayMs, index) => delayMs && { attempt: index + 1, delayMs }))
  })
})

t.test('a wait is any part of its bound', async (t) => {
  withChance(0, () => t.equal(createRetries().next(failure())?.delayMs, 0))
  withChance(0.25, () => t.equal(createRetries().next(failure())?.delayMs, 250))
  const retries = createRetries({ maxTries: 1_000 })
  for (let tries = 0; tries < 1_000; tries++) {
    const { delayMs } = retries.next(failure()) ?? { delayMs: NaN }
    t.ok(delayMs >= 0 && delayMs <= 30_000)
  }
})

t.test('a bound is never over maxDelayMs', async (t) => {
  withChance(1, () => {
    const retries = createRetries({ maxTries: 7, initialDelayMs: 1_000, maxDelayMs: 3_000 })
    t.same(Array.from({ length: 3 }, () => retries.next(failure())?.delayMs), [1_000, 2_000, 3_000])
  })
})

t.test('a success counts anew', async (t) => {
  const retries = createRetries({ maxTries: 1 })

  t.equal(retries.next(failure())?.attempt, 1)
  t.equal(retries.next(failure()), undefined)
  retries.reset()
  t.equal(retries.next(failure())?.attempt, 1)
})

t.test('nothing is tried again that would fail again, or with reconnect: false', async (t) => {
  t.equal(createRetries().next(failure({ retryable: false })), undefined)
  t.equal(createRetries(false).next(failure()), undefined)
  t.equal(createRetries({ maxTries: 0 }).next(failure()), undefined)
})

t.test('Retry-After is the shortest wait, and one over maxDelayMs is not waited', async (t) => {
  withChance(0, () => {
    t.equal(createRetries().next(failure({ retryAfterMs: 2_500 }))?.delayMs, 2_500)
    t.equal(createRetries().next(failure({ retryAfterMs: 30_001 })), undefined)
  })
  withChance(1, () => t.equal(createRetries().next(failure({ retryAfterMs: 500 }))?.delayMs, 1_000))
})

t.test('close code 1013 asks for a longer wait', async (t) => {
  withChance(1, () => t.equal(createRetries().next(failure({ closeCode: 1013 }))?.delayMs, 4_000))
})

t.test('close codes that blame the client are final', async (t) => {
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1014, 4000, 4408, 4429, 4500]) t.ok(isRetryableClose(code), `${code}`)
  for (const code of [1000, 1003, 1007, 1008, 1009, 4400, 4401, 4403]) t.notOk(isRetryableClose(code), `${code}`)
})
