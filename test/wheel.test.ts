import t from 'tap'
import { Wheel, type WheelEntry } from '../lib/wheel.ts'
import { deferred, sleep, soon, stayAlive, until } from './helper.ts'

/** An entry that notes when it was looked at, on the clock of `performance.now()`. */
class Entry implements WheelEntry {
  dueTurn = 0
  readonly looks: number[] = []
  onLook: () => void = () => {}

  look (now: number): void {
    this.looks.push(now)
    this.onLook()
  }
}

t.test('an entry is looked at once, not before its time', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const entry = new Entry()
  const start = performance.now()

  wheel.set(entry, 200)

  t.equal(wheel.size, 1)
  await until('the look', () => entry.looks.length > 0)
  t.ok(Number(entry.looks[0]) - start >= 150, 'the wheel is exact to 50 ms')
  t.equal(wheel.size, 0)
  t.equal(entry.dueTurn, 0)
  await sleep(120)
  t.equal(entry.looks.length, 1)
})

t.test('the last set() counts', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const [moved, other] = [new Entry(), new Entry()]
  wheel.set(moved, 1)
  wheel.set(other, 200)
  wheel.set(moved, 600_000)

  await until('the look at the other', () => other.looks.length > 0)

  t.equal(moved.looks.length, 0)
  t.equal(wheel.size, 1)
  wheel.set(moved, 0)
  await until('the look', () => moved.looks.length > 0)
})

t.test('delete() forgets an entry, also one that waits for nothing', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const [gone, other] = [new Entry(), new Entry()]
  wheel.set(gone, 1)
  wheel.set(other, 100)

  wheel.delete(gone)
  wheel.delete(gone)

  t.equal(wheel.size, 1)
  await until('the look at the other', () => other.looks.length > 0)
  t.equal(gone.looks.length, 0)
})

t.test('an entry may set its next look while it is looked at', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const entry = new Entry()
  entry.onLook = () => { if (entry.looks.length < 3) wheel.set(entry, 1) }
  wheel.set(entry, 1)

  await until('three looks', () => entry.looks.length === 3)

  t.equal(wheel.size, 0)
})

t.test('an entry may forget another while it is looked at', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const [first, second] = [new Entry(), new Entry()]
  first.onLook = () => wheel.delete(second)
  wheel.set(first, 1)
  wheel.set(second, 1)

  await until('the first look', () => first.looks.length === 1)

  await sleep(120)
  t.equal(second.looks.length, 0)
})

t.test('an entry further away than a round is passed by', async (t) => {
  stayAlive(t)
  // A round has 512 turns of 50 ms: this entry stands in the slot of the next turn.
  const wheel = new Wheel()
  const [far, near] = [new Entry(), new Entry()]
  wheel.set(far, 513 * 50)
  wheel.set(near, 300)

  await until('the near look', () => near.looks.length > 0)

  t.equal(far.looks.length, 0)
  t.equal(wheel.size, 1)
})

t.test('many entries of one turn are looked at over several turns', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const entries = Array.from({ length: 1_200 }, () => new Entry())
  const counts = new Map<number, number>()
  for (const entry of entries) {
    entry.onLook = () => { counts.set(Number(entry.looks[0]), 1 + (counts.get(Number(entry.looks[0])) ?? 0)) }
    wheel.set(entry, 1)
  }

  await until('all looks', () => entries.every(({ looks }) => looks.length === 1))

  t.ok([...counts.values()].every((count) => count <= 500), [...counts.values()].join())
  t.equal(wheel.size, 0)
})

t.test('a busy event loop makes looks late, never early', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const [first, second] = [new Entry(), new Entry()]
  const looked = deferred<number>()
  let start = 0
  first.onLook = () => {
    start = performance.now()
    wheel.set(second, 200)
  }
  second.onLook = () => looked.resolve(performance.now() - start)
  wheel.set(first, 50)

  const end = performance.now() + 700
  while (performance.now() < end) { /* The loop is held for many turns. */ }

  t.ok(await soon('the second look', looked.promise) >= 150, 'after the time that was set, exact to 50 ms')
})

t.test('a wheel rests while it is empty, and turns again', async (t) => {
  stayAlive(t)
  const wheel = new Wheel()
  const entry = new Entry()
  wheel.set(entry, 1)
  await until('the look', () => entry.looks.length === 1)
  await sleep(120)

  const start = performance.now()
  wheel.set(entry, 200)

  await until('the second look', () => entry.looks.length === 2)
  t.ok(Number(entry.looks[1]) - start >= 150)
})

t.test('turns are a clock that never says too much, and at most 100 ms too little', async (t) => {
  let now = 1_000
  let advance = (): void => {}
  t.intercept(performance, 'now', { value: () => now })
  t.intercept(globalThis, 'setInterval', { value: (callback: () => void) => { advance = callback; return { unref () {} } } })
  t.intercept(globalThis, 'clearInterval', { value: () => {} })
  const errors: number[] = []
  for (let phase = 0; phase < 50; phase++) {
    const wheel = new Wheel()
    now += phase
    wheel.set(new Entry(), 600_000)
    const notes: Array<{ turn: number, at: number }> = []
    for (let ms = 1; ms <= 200; ms++) {
      now++
      if (ms % 50 === 0) advance()
      notes.push({ turn: wheel.turn, at: now })
    }
    for (const { turn, at } of notes) errors.push(now - at - wheel.msSince(turn, now))
  }

  t.equal(errors.length, 10_000)
  t.ok(Math.min(...errors) >= 0, `${Math.min(...errors)} ms`)
  t.ok(Math.max(...errors) <= 100, `${Math.max(...errors)} ms`)
})
