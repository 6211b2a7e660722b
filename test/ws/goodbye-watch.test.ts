import { PassThrough } from 'node:stream'
import t from 'tap'
import { GoodbyeWatch } from '../../lib/ws/goodbye-watch.ts'
import { turn } from '../helper.ts'

function createWatch () {
  const raw = new PassThrough()
  let looks = 0
  const watch = new GoodbyeWatch(raw, () => { looks++ })
  return { raw, watch, looks: () => looks }
}

t.test('data and the end of the connection are looked into, after others have read them', async (t) => {
  const { raw, watch, looks } = createWatch()
  watch.set(true)
  const before = looks()

  raw.emit('data', Buffer.from('x'))
  t.equal(looks(), before)
  await turn()
  t.equal(looks(), before + 1)
  raw.emit('end')
  await turn()

  t.equal(looks(), before + 2)
})

t.test('nothing is looked into while no chat runs, and no listener stays', async (t) => {
  const { raw, watch, looks } = createWatch()
  const count = (): number => raw.listenerCount('data') + raw.listenerCount('end')
  const before = count()
  watch.set(false)
  watch.set(true)
  watch.set(true)
  t.equal(count(), before + 2)
  watch.set(false)

  raw.emit('data', Buffer.from('x'))
  await turn()

  t.equal(count(), before)
  t.equal(looks(), 0)
})

t.test('a connection that is not known is not watched', async (t) => {
  const watch = new GoodbyeWatch(undefined, () => t.fail('nobody is there'))

  watch.set(true)
  watch.set(false)
  t.pass()
})
