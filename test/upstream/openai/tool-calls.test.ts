import t from 'tap'
import { chunk, decodeData, summarise } from '../../fixtures/decode-stream.ts'

/** What a stream with these `tool_calls` items, one a chunk, means; without its start. */
function callsOf (items: unknown[], finishReason: string | null = 'tool_calls'): string[] {
  const deltas = items.map((item) => chunk({ tool_calls: [item] }))
  return summarise(decodeData([...deltas, ...(finishReason === null ? [] : [chunk({}, finishReason)]), '[DONE]'])).slice(1)
}

const finish = 'finish 0 tool-calls tool_calls'

t.test('parallel calls are told apart by index', async (t) => {
  const lines = callsOf([
    { index: 0, id: 'a', function: { name: 'f', arguments: '' } },
    { index: 1, id: 'b', function: { name: 'g', arguments: '' } },
    { index: 1, function: { arguments: '{"x":' } },
    { index: 0, function: { arguments: '{}' } },
    { index: 1, function: { arguments: '1}' } }
  ])

  t.strictSame(lines, [
    'call 0/0 a f', 'call 0/1 b g', 'arguments 0/1: {"x":', 'arguments 0/0: {}', 'arguments 0/1: 1}',
    'called 0/0 {}', 'called 0/1 {"x":1}', finish
  ])
})

t.test('indexes of calls count from 0 whatever the upstream says', async (t) => {
  const lines = callsOf([{ index: 3, id: 'a', function: { name: 'f' } }, { index: 7, id: 'b', function: { name: 'g' } }])

  t.strictSame(lines, ['call 0/0 a f', 'call 0/1 b g', 'called 0/0 {}', 'called 0/1 {}', finish])
})

t.test('parallel calls that all have index 0 are told apart by id', async (t) => {
  const lines = callsOf([
    { index: 0, id: 'a', function: { name: 'f', arguments: '{"x":' } },
    { index: 0, id: 'b', function: { name: 'g', arguments: '{"y":' } },
    { index: 0, id: 'a', function: { arguments: '1}' } },
    { index: 0, id: 'b', function: { name: '', arguments: '2}' } },
    { index: 0, id: 'c', function: { name: 'g', arguments: '' } },
    { index: 0, id: 'd', function: { name: 'g', arguments: '{}' } }
  ])

  t.strictSame(lines, [
    'call 0/0 a f', 'arguments 0/0: {"x":', 'call 0/1 b g', 'arguments 0/1: {"y":', 'arguments 0/0: 1}', 'arguments 0/1: 2}',
    'call 0/2 c g', 'call 0/3 d g', 'arguments 0/3: {}',
    'called 0/0 {"x":1}', 'called 0/1 {"y":2}', 'called 0/2 {}', 'called 0/3 {}', finish
  ])
})

t.test('calls with neither index nor id are told apart by name and complete arguments', async (t) => {
  const lines = callsOf([
    { function: { name: 'f', arguments: '{"x":' } },
    { function: { name: 'f', arguments: '{}' } },
    { id: '', function: { arguments: '}' } },
    { id: '', function: { name: 'f', arguments: '{}' } },
    { function: { name: 'f', arguments: ' ' } },
    { function: { name: 'g', arguments: '' } },
    { function: { name: 'h', arguments: '' } },
    { function: { name: 'h' } }
  ])

  t.strictSame(lines, [
    'call 0/0 call_1 f', 'arguments 0/0: {"x":{}}', 'call 0/1 call_2 f', 'arguments 0/1: {} ', 'call 0/2 call_3 g', 'call 0/3 call_4 h',
    'called 0/0 {"x":{}}', 'called 0/1 {} ', 'called 0/2 {}', 'called 0/3 {}', finish
  ])
})

t.test('an index that comes only in later deltas belongs to the call before', async (t) => {
  const lines = callsOf([{ id: 'a', function: { name: 'f' } }, { index: 0, function: { arguments: '{}' } }])

  t.strictSame(lines, ['call 0/0 a f', 'arguments 0/0: {}', 'called 0/0 {}', finish])
})

t.test('an index that is missing in later deltas belongs to the last call', async (t) => {
  const lines = callsOf([{ index: 0, id: 'a', function: { name: 'f' } }, { function: { arguments: '{}' } }])

  t.strictSame(lines, ['call 0/0 a f', 'arguments 0/0: {}', 'called 0/0 {}', finish])
})

t.test('an id may be repeated, change in every delta, or be the same for all calls', async (t) => {
  t.strictSame(callsOf([
    { index: 0, id: 'a', function: { name: 'f', arguments: '{' } }, { index: 0, id: 'a', function: { name: 'f', arguments: '}' } }
  ]), ['call 0/0 a f', 'arguments 0/0: {}', 'called 0/0 {}', finish])
  t.strictSame(callsOf([
    { index: 0, id: 'a', function: { name: 'f', arguments: '{' } },
    { index: 0, id: 'b', function: { arguments: '"x"' } },
    { index: 0, id: 'c', function: { name: 'f', arguments: ':1}' } }
  ]), ['call 0/0 a f', 'arguments 0/0: {"x":1}', 'called 0/0 {"x":1}', finish])
  t.strictSame(callsOf([
    { index: 0, id: 'f', function: { name: 'f', arguments: '{}' } }, { index: 1, id: 'f', function: { name: 'f', arguments: '[]' } },
    { index: 9, id: 'f', function: { arguments: ' ' } }
  ]), ['call 0/0 f f', 'arguments 0/0: {}', 'call 0/1 f f', 'arguments 0/1: [] ', 'called 0/0 {}', 'called 0/1 [] ', finish])
})

t.test('another id behind complete arguments is another call, even before its name', async (t) => {
  const lines = callsOf([
    { index: 0, id: 'a', function: { name: 'f', arguments: '{}' } },
    { index: 0, id: 'b', function: { arguments: '' } },
    { index: 0, id: 'b', function: { name: 'g', arguments: '{}' } }
  ])

  t.strictSame(lines, ['call 0/0 a f', 'arguments 0/0: {}', 'call 0/1 b g', 'arguments 0/1: {}', 'called 0/0 {}', 'called 0/1 {}', finish])
})

t.test('a call starts when its name is known, with the arguments that came before', async (t) => {
  const lines = callsOf([
    { index: 0, id: 'a', function: { arguments: '{"x"' } },
    { index: 0, function: { name: ' ' } },
    { index: 0, id: 'b', function: { name: 'f', arguments: ':1' } },
    { index: 0, function: { name: 'g', arguments: '}' } }
  ])

  t.strictSame(lines, ['call 0/0 b f', 'arguments 0/0: {"x":1}', 'called 0/0 {"x":1}', finish])
})

t.test('a name in pieces does not make a second call', async (t) => {
  t.strictSame(callsOf([{ index: 0, id: 'a', function: { name: 'f' } }, { index: 0, function: { name: 'g' } }]),
    ['call 0/0 a f', 'called 0/0 {}', finish])
})

t.test('a call that never gets a name is told at the end if it has arguments', async (t) => {
  t.strictSame(callsOf([{ index: 0, function: { arguments: '{}' } }, { index: 1, id: 'b' }]),
    ['call 0/0 call_1 ', 'arguments 0/0: {}', 'called 0/0 {}', finish])
})

t.test('arguments may be objects, arrays or nothing', async (t) => {
  const lines = callsOf([
    { id: 'a', function: { name: 'f', arguments: { x: [1] } } },
    { id: 'b', function: { name: 'g', arguments: [1] } },
    { id: 'c', function: { name: 'h', arguments: null } }
  ])

  t.strictSame(lines, [
    'call 0/0 a f', 'arguments 0/0: {"x":[1]}', 'call 0/1 b g', 'arguments 0/1: [1]', 'call 0/2 c h',
    'called 0/0 {"x":[1]}', 'called 0/1 [1]', 'called 0/2 {}', finish
  ])
})

t.test('custom tools take free text, also none', async (t) => {
  t.strictSame(callsOf([{ index: 0, id: 'a', custom: { name: 'sql', input: '{1' } }, { index: 1, id: 'b', custom: { name: 'now' } }], 'stop'),
    ['call 0/0 a sql', 'arguments 0/0: {1', 'call 0/1 b now', 'called 0/0 {1', 'called 0/1 ', 'finish 0 tool-calls stop'])
})

t.test('items that are no calls are left out', async (t) => {
  t.strictSame(callsOf([null, 'x', 1], 'stop'), ['finish 0 stop stop'])
})

t.test('function_call is one call, and the same as the tool call beside it', async (t) => {
  const fields = { function_call: { name: 'f', arguments: '{}' } }

  t.strictSame(summarise(decodeData([chunk(fields), chunk({ tool_calls: [] }, 'function_call')])).slice(1),
    ['call 0/0 call_1 f', 'arguments 0/0: {}', 'called 0/0 {}', 'finish 0 tool-calls function_call'])
  t.strictSame(summarise(decodeData([chunk({ ...fields, tool_calls: [{ id: 'a', function: { name: 'f', arguments: '{}' } }] }, 'stop')])).slice(1),
    ['call 0/0 a f', 'arguments 0/0: {}', 'called 0/0 {}', 'finish 0 tool-calls stop'])
})

t.test('stop means tool-calls when a call is complete', async (t) => {
  const whole = { index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }
  const part = { index: 0, id: 'a', function: { name: 'f', arguments: '{"x":{}' } }

  t.equal(callsOf([whole], 'stop').at(-1), 'finish 0 tool-calls stop')
  t.equal(callsOf([whole], null).at(-1), 'finish 0 tool-calls null')
  t.equal(callsOf([part], 'stop').at(-1), 'finish 0 stop stop')
  t.equal(callsOf([{ index: 0, function: { arguments: '{}' } }], 'stop').at(-1), 'finish 0 stop stop', 'a call without a name is not complete')
})

t.test('length is kept, and a call that it cuts does not end', async (t) => {
  const items = [
    { index: 0, id: 'a', function: { name: 'f', arguments: '{}' } },
    { index: 1, id: 'b', function: { name: 'g', arguments: '{"x":' } },
    { index: 2, id: 'c', function: { name: 'h', arguments: '' } }
  ]

  t.strictSame(callsOf(items, 'length').slice(-2), ['called 0/0 {}', 'finish 0 length length'])
})

t.test('calls that come after the finish are raw', async (t) => {
  const call = { tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }] }

  t.strictSame(summarise(decodeData([chunk({}, 'stop'), chunk(call)])).slice(1), ['finish 0 stop stop', 'raw'])
})

t.test('long arguments of a server that repeats id and name take linear time', async (t) => {
  const delta = { index: 0, id: 'a', function: { name: 'f', arguments: '{"x":1},' } }
  const deltas = [{ ...delta, function: { name: 'f', arguments: '[' } }, ...Array(20_000).fill(delta), { ...delta, function: { name: 'f', arguments: '0]' } }]
  const startedAt = performance.now()

  const lines = callsOf(deltas)

  t.equal(lines.length, 4)
  t.ok(performance.now() - startedAt < 30_000)
})
