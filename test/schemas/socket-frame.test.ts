import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { CancelFrame, ChatFrame, ClientFrame, ConnectionErrorFrame, PingFrame, ServerFrame, ChatEventFrame } from '../../lib/schemas/socket-frame.ts'
import { native } from '../../lib/ws/dialects/native.ts'
import { error, everyEvent, write } from '../ws/dialects/helper.ts'

t.test('what the native protocol writes is of the schemas', async (t) => {
  const frames = [
    ...write(native, { id: 'c1' }),
    ...write(native, { id: 'x'.repeat(64), whole: true }),
    ...write(native, { id: '__proto__' }, [], { reason: 'upstream-error', error }),
    ...write(native, { id: 'c' }, [], { reason: 'stop' })
  ]

  t.ok(frames.length > 2 * everyEvent.length)
  for (const frame of frames) {
    t.ok(Value.Check(ChatEventFrame, frame), frame.type)
    t.ok(Value.Check(ServerFrame, frame), frame.type)
  }
})

t.test('what it refuses is of the schemas', async (t) => {
  for (const frame of [...native.refuse(error, 'c1'), ...native.refuse(error)]) {
    t.ok(Value.Check(ConnectionErrorFrame, JSON.parse(frame)))
    t.notOk(Value.Check(ChatEventFrame, JSON.parse(frame)), 'and no frame of a chat')
  }
})

t.test('a chat\'s frames have an id and a seq', async (t) => {
  const [start] = write(native, { id: 'c1' })
  for (const wrong of [{ ...start, seq: 0 }, { ...start, id: '' }, { ...start, id: 'x'.repeat(65) }, { ...start, seq: undefined }, { ...start, id: 5 }]) {
    t.notOk(Value.Check(ChatEventFrame, wrong))
  }
})

t.test('client frames are checked with all fields of a chat request', async (t) => {
  const chat = { type: 'chat', id: 'c1', model: 'm', messages: [{ role: 'user', content: 'Hi' }], vendor: 1 }

  t.ok(Value.Check(ChatFrame, chat))
  t.notOk(Value.Check(ChatFrame, { ...chat, temperature: 'hot' }))
  t.notOk(Value.Check(ChatFrame, { ...chat, id: '' }))
  t.ok(Value.Check(CancelFrame, { type: 'cancel', id: 'c1' }))
  t.ok(Value.Check(PingFrame, { type: 'ping' }))
  t.notOk(Value.Check(PingFrame, { type: 'ping', ts: 'x'.repeat(65) }))
  for (const frame of [chat, { type: 'cancel', id: 'c1' }, { type: 'ping', ts: 5 }]) t.ok(Value.Check(ClientFrame, frame))
  for (const frame of [{}, { type: 'chat.completion' }, { type: 'cancel' }]) t.notOk(Value.Check(ClientFrame, frame))
})
