import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { GoawayFrame, HeartbeatFrame, PongFrame, ReadyFrame } from '../../lib/schemas/socket-frame.ts'
import { goawayFrame, heartbeatFrame, pongFrame, readyFrame } from '../../lib/ws/control-frames.ts'

t.test('control frames are of their schemas', async (t) => {
  const limits = { chats: 8, messagesPerSecond: 100, messageBytes: 1_048_576, heartbeatMs: 15_000 }

  t.ok(Value.Check(ReadyFrame, JSON.parse(readyFrame(limits))))
  t.strictSame(JSON.parse(readyFrame(limits)), { type: 'ready', protocol: 'llm-chat.v1', limits })
  t.ok(Value.Check(GoawayFrame, JSON.parse(goawayFrame('shutdown', 5_000))))
  t.strictSame(JSON.parse(goawayFrame('lifetime', 0)), { type: 'goaway', reason: 'lifetime', deadlineMs: 0 })
  t.ok(Value.Check(HeartbeatFrame, JSON.parse(heartbeatFrame)))
  t.ok(Value.Check(PongFrame, JSON.parse(pongFrame(1))))
})

t.test('a pong has the ts of its ping, where that is a number or a short text', async (t) => {
  t.equal(pongFrame(1.5), '{"type":"pong","ts":1.5}')
  t.equal(pongFrame('x'.repeat(64)), `{"type":"pong","ts":"${'x'.repeat(64)}"}`)
  for (const ts of [undefined, null, 'x'.repeat(65), {}, [1], true]) t.equal(pongFrame(ts), '{"type":"pong"}')
})
