import type { ChatBody, Scenario } from './scenario.ts'
import type { SeenRequest } from './seen-requests.ts'

/** Options of `createUpstream()`: where to listen, and the scenario of all requests. */
export interface UpstreamOptions extends Scenario {
  /**
   * Address to listen on: an IPv4 address or a host name.
   * @default '127.0.0.1'
   */
  host?: string
  /**
   * Port to listen on; `0` takes a free one.
   * @default 0
   */
  port?: number
  /** The only key that is accepted, as `authorization: Bearer …`; any other gets a 401. Without it all are accepted. */
  apiKey?: string
  /**
   * Chooses a scenario for a request. What it returns is merged over these options, and the model name is not looked
   * at; with `undefined` the model name decides.
   */
  scenario?: (request: ChatBody, seen: SeenRequest) => Scenario | undefined
  /**
   * How many requests are kept in `requests`; older ones are dropped.
   * @default 1000
   */
  keepRequests?: number
}
