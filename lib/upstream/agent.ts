import { Agent, Client, Pool, buildConnector, type Dispatcher } from 'undici'

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

/** A client serves one request at a time, so the signal of the last tells whether anybody waits for its connection. */
class SignalClient extends Client {
  signal: AbortSignal | undefined

  override dispatch (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.signal = (options as { signal?: AbortSignal }).signal
    return super.dispatch(options, handler)
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
function connect (target: buildConnector.Options, callback: Connected, connector: Connector, signal: AbortSignal | undefined): void {
  if (signal === undefined) return connector(target, callback)
  if (signal.aborted) return callback(signal.reason, null)
  const socket = connector(target, (...result) => {
    signal.removeEventListener('abort', onAbort)
    callback(...result)
  }) as unknown as { destroy (error: Error): void }
  const onAbort = (): void => socket.destroy(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
}
