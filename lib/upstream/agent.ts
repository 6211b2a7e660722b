import { Agent, Client, Pool, buildConnector, type Dispatcher } from 'undici'
import type { LinkedAbort } from './linked-abort.ts'

type Connector = buildConnector.connector
type Connected = buildConnector.Callback

/**
 * The adapter's own pool of connections: as many as there are streams, for each holds one for minutes, and
 * `limits.maxStreams` is the bound. Its clients end with their request: undici's own go on connecting for a request
 * that was aborted, and after an abort connect once more for nothing (undici 7.30, `lib/dispatcher/client-h1.js`).
 * @param connectTimeoutMs Longest time to connect; `0` waits without limit.
 */
export function createAgent (connectTimeoutMs: number): Agent {
  const connector = buildConnector({ timeout: connectTimeoutMs })
  const timeouts = { headersTimeout: 0, bodyTimeout: 0 }
  return new Agent({
    ...timeouts,
    factory: (origin, options) => new Pool(origin, {
      ...options,
      ...timeouts,
      factory: (origin, options) => createClient(origin, options, connector)
    })
  })
}

const utf8 = new TextEncoder()

/** A client serves one request at a time, so the signal of the last tells whether anybody waits for its connection. */
class SignalClient extends Client {
  signal: LinkedAbort | undefined

  /**
   * undici keeps a body for as long as its answer takes, and would put a text into a slab that Node shares out: four
   * streams then hold 8 KiB. As bytes of their own they hold no more than they are.
   */
  override dispatch (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.signal = (options as { signal?: LinkedAbort }).signal
    const { body } = options
    return super.dispatch(typeof body === 'string' ? Object.assign({}, options, { body: utf8.encode(body) }) : options, handler)
  }
}

function createClient (origin: URL, options: object, connector: Connector): Client {
  const client: SignalClient = new SignalClient(origin, {
    ...options,
    connect: (target: buildConnector.Options, callback: Connected) => connect(target, callback, connector, client.signal)
  })
  return client
}

/** Connects while somebody waits for it. */
function connect (target: buildConnector.Options, callback: Connected, connector: Connector, signal: LinkedAbort | undefined): void {
  if (signal === undefined) return connector(target, callback)
  if (signal.aborted) return callback(signal.reason, null)
  const socket = connector(target, (...result) => {
    signal.removeEventListener('abort', onAbort)
    callback(...result)
  }) as unknown as { destroy (error: Error): void }
  const onAbort = (): void => socket.destroy(signal.reason)
  signal.addEventListener('abort', onAbort)
}
