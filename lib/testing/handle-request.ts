import type { IncomingMessage, ServerResponse } from 'node:http'
import { answerChat } from './answer-chat.ts'
import type { UpstreamState } from './choose-scenario.ts'
import { errorBody, requestError } from './error-bodies.ts'
import { MODEL_SCENARIOS } from './model-scenarios.ts'
import { readKey } from './read-key.ts'
import { sendJson } from './send-json.ts'
import type { SeenRequest } from './seen-requests.ts'
import { resetConnection, type Exchange } from './write-stream.ts'

/** Answers one HTTP request and records it; never throws. */
export function handleRequest (state: UpstreamState, request: IncomingMessage, response: ServerResponse): void {
  const exchange = openExchange(state, request, response)
  route(state, request, exchange).catch((error: unknown) => {
    if (!exchange.signal.aborted) failExchange(exchange, error)
  })
}

/** A function of the scenario threw, or gave something that cannot be sent: says so where a test sees it. */
function failExchange (exchange: Exchange, error: unknown): void {
  if (exchange.response.headersSent) return resetConnection(exchange)
  sendJson(exchange, 500, { error: { message: String(error), type: 'server_error', param: null, code: 'internal_error' } })
}

/** Begins the record of a request, and ends it with its response. */
function openExchange ({ log }: UpstreamState, request: IncomingMessage, response: ServerResponse): Exchange {
  const controller = new AbortController()
  const seen: SeenRequest = {
    method: String(request.method),
    path: String(request.url),
    headers: request.headers,
    startedAt: performance.now(),
    bytesWritten: 0,
    events: 0,
    state: 'open'
  }
  log.add(seen)
  response.on('close', () => {
    log.end(seen, response.writableFinished ? 'complete' : 'closed-by-client')
    controller.abort()
  })
  return { response, socket: request.socket, seen, log, signal: controller.signal }
}

async function route (state: UpstreamState, request: IncomingMessage, exchange: Exchange): Promise<void> {
  const { method, path, headers } = exchange.seen
  const refusal = checkKey(state.options.apiKey, headers.authorization)
  if (refusal) return sendJson(exchange, 401, refusal)
  const [pathname] = path.split('?')
  if (method === 'GET' && pathname === '/v1/models') return sendJson(exchange, 200, listModels())
  if (method === 'POST' && pathname === '/v1/chat/completions') return answerChat(state, request, exchange)
  sendJson(exchange, 404, requestError(`Invalid URL (${method} ${pathname})`))
}

/** As providers do, the refusal repeats the key that was sent: a host must not pass it on. */
function checkKey (apiKey: string | undefined, authorization: string | undefined): object | undefined {
  if (apiKey === undefined || authorization === `Bearer ${apiKey}`) return
  if (authorization === undefined) return requestError('You didn\'t provide an API key in the Authorization header.')
  return errorBody(401, readKey(authorization))
}

function listModels (): object {
  const data = ['mock', ...Object.keys(MODEL_SCENARIOS)]
    .map((id) => ({ id, object: 'model', created: 0, owned_by: 'fastify-llm-stream' }))
  return { object: 'list', data }
}
