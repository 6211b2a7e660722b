import type { IncomingMessage } from 'node:http'
import { planAnswer } from './answer.ts'
import { rawFrames, streamFrames } from './chunks.ts'
import { chooseScenario, type UpstreamState } from './choose-scenario.ts'
import { completionFrames } from './completion.ts'
import { errorBody, requestError } from './error-bodies.ts'
import { withFailures, type Step } from './failures.ts'
import { readBody } from './read-body.ts'
import { readKey } from './read-key.ts'
import type { ChatBody, Scenario } from './scenario.ts'
import { sendJson } from './send-json.ts'
import { resetConnection, wait, waitForClose, writeSteps, type Exchange } from './write-stream.ts'

/** Answers one Chat Completions request as its scenario says. */
export async function answerChat (state: UpstreamState, request: IncomingMessage, exchange: Exchange): Promise<void> {
  const { status, refusal, body } = await readBody(request)
  if (refusal) return sendJson(exchange, status, refusal)
  exchange.seen.body = body
  exchange.log.changed()
  const number = ++state.chats
  const scenario = chooseScenario(state, body, exchange.seen)
  if (scenario.silent) return waitForClose(exchange)
  await wait(scenario.delayMs ?? 0, exchange.signal)
  if (scenario.reset || scenario.status === 0) return resetConnection(exchange)
  if (isPlain(scenario)) return sendPlain(exchange, body, scenario)
  if (scenario.refuseStreamOptions && body.stream_options) return refuseStreamOptions(exchange)
  await sendAnswer(exchange, body, scenario, number)
}

/** Tells whether the answer is one body that says all, such as an HTTP failure. */
function isPlain ({ body, status = 200 }: Scenario): boolean {
  return body !== undefined || status >= 300
}

function sendPlain (exchange: Exchange, request: ChatBody, { status = 200, body, headers, retryAfter, contentType }: Scenario): void {
  const detail = status === 401 ? readKey(exchange.seen.headers.authorization) : String(request.model)
  sendJson(exchange, status, body ?? errorBody(status, detail), {
    ...(contentType !== undefined && { 'content-type': contentType }),
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...headers
  })
}

function refuseStreamOptions (exchange: Exchange): void {
  sendJson(exchange, 400, requestError('Unknown parameter: \'stream_options\'.', 'stream_options', 'unknown_parameter'))
}

async function sendAnswer (exchange: Exchange, request: ChatBody, scenario: Scenario, number: number): Promise<void> {
  const steps = planSteps(request, scenario, number)
  exchange.response.writeHead(scenario.status ?? 200, {
    'content-type': scenario.contentType ?? (request.stream ? 'text/event-stream; charset=utf-8' : 'application/json'),
    'cache-control': 'no-cache',
    'x-request-id': `req_mock_${number}`,
    ...scenario.headers
  })
  exchange.response.flushHeaders()
  await wait(scenario.firstTokenDelayMs ?? 0, exchange.signal)
  await writeSteps(exchange, steps, scenario)
}

function planSteps (request: ChatBody, scenario: Scenario, number: number): Iterable<Step> {
  if (scenario.frames !== undefined) return withFailures(rawFrames(scenario.frames), scenario)
  const answer = planAnswer(request, scenario, number)
  if (request.stream) return withFailures(streamFrames(answer, request, scenario), scenario)
  const { errorAfter, garbageAfter, ...breaks } = scenario // these two are the whole body of a JSON answer
  return withFailures(completionFrames(answer, scenario), breaks)
}
