import { encodeFrame, type Frame } from './chunks.ts'
import { errorBody } from './error-bodies.ts'
import type { Scenario } from './scenario.ts'

/** What to do next on the wire: write a frame, break the connection or fall silent. After the last one the body ends. */
export type Step = Frame | 'cut' | 'hang'

/** Not JSON, as a proxy between server and model might write. */
export const GARBAGE = '<html><body><h1>502 Bad Gateway</h1></body></html>'

const STOPS = ['cutAfter', 'endAfter', 'hangAfter', 'errorAfter'] as const

/** Makes the steps of an answer: its frames, with the failures of the scenario among them. */
export function * withFailures (frames: Iterable<Frame>, scenario: Scenario): Generator<Step> {
  const stop = findStop(scenario)
  let garbageAfter = scenario.garbageAfter ?? NaN
  let tokens = 0
  for (const frame of frames) {
    const isDue = (after: number): boolean => tokens >= after || (frame.isTail === true && !Number.isNaN(after))
    if (isDue(garbageAfter)) {
      garbageAfter = NaN
      yield { data: encodeFrame(GARBAGE, scenario), events: 1, tokens: 0 }
    }
    if (stop && isDue(stop.after)) return yield * stopSteps(stop, scenario)
    yield frame
    tokens += frame.tokens
  }
  yield * (stop ? stopSteps(stop, scenario) : lastSteps(scenario))
}

interface Stop { name: typeof STOPS[number], after: number }

/** The failure that comes first. */
function findStop (scenario: Scenario): Stop | undefined {
  return STOPS.flatMap((name) => scenario[name] === undefined ? [] : [{ name, after: scenario[name] }])
    .sort((a, b) => a.after - b.after)[0]
}

function stopSteps ({ name }: Stop, scenario: Scenario): Step[] {
  if (name === 'cutAfter') return ['cut']
  if (name === 'endAfter') return []
  if (name === 'hangAfter') return ['hang']
  const data = encodeFrame(JSON.stringify(errorFrame(scenario)), scenario)
  return [{ data, events: 1, tokens: 0 }, ...lastSteps(scenario)]
}

/** The JSON of an error that is not an HTTP failure. */
export function errorFrame ({ errorFrame = errorBody(500) }: Scenario): object {
  return errorFrame
}

function lastSteps ({ keepOpen }: Scenario): Step[] {
  return keepOpen ? ['hang'] : []
}
