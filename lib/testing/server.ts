import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { UpstreamState } from './choose-scenario.ts'
import { handleRequest } from './handle-request.ts'
import { SeenRequests, type SeenRequest, type WaitOptions } from './seen-requests.ts'
import type { UpstreamOptions } from './upstream-options.ts'

/** Longer than the pools of common clients keep a socket, so that none is closed under a request. */
const KEEP_ALIVE_MS = 60_000

/** An OpenAI-compatible upstream that listens in this process. */
export interface EmbeddedUpstream {
  /** What a client takes as base URL: `http://127.0.0.1:PORT/v1`. */
  readonly baseUrl: string
  /** The port it listens on. */
  readonly port: number
  /** The requests seen, newest last. */
  readonly requests: readonly SeenRequest[]
  /** How many requests are being answered now. */
  readonly open: number
  /**
   * Resolves when the predicate is true of this upstream; it is asked again after each change, so no time is lost.
   * @throws Error when it is not true within `timeoutMs` (default 5000) or before `close()`, with what was seen
   */
  waitFor (predicate: (upstream: EmbeddedUpstream) => boolean, options?: WaitOptions): Promise<void>
  /** Ends everything at once, connections included. Responses that were open are recorded as `cut`. */
  close (): Promise<void>
}

/**
 * Starts an upstream for tests and trials: it answers Chat Completions requests by itself and can fail in every way
 * that a provider does.
 * @throws Error of `listen()`, such as EADDRINUSE
 */
export async function createUpstream (options: UpstreamOptions = {}): Promise<EmbeddedUpstream> {
  const { host = '127.0.0.1', port = 0, keepRequests = 1000 } = options
  const log = new SeenRequests(keepRequests)
  const state: UpstreamState = { options, log, chats: 0, failed: 0 }
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => handleRequest(state, request, response))
  server.listen(port, host)
  await once(server, 'listening')
  return createHandle(server, host, log)
}

function createHandle (server: Server, host: string, log: SeenRequests): EmbeddedUpstream {
  const { port } = server.address() as AddressInfo
  let closing: Promise<void> | undefined
  const upstream: EmbeddedUpstream = {
    baseUrl: `http://${host}:${port}/v1`,
    port,
    get requests () { return log.list },
    get open () { return log.open.size },
    waitFor (predicate, options) { return log.waitFor(() => predicate(upstream), options) },
    close () {
      closing ??= closeServer(server, log)
      return closing
    }
  }
  return upstream
}

async function closeServer (server: Server, log: SeenRequests): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  log.close()
  server.closeAllConnections()
  await closed
}
