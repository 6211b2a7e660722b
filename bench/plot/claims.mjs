// What two articles claim of SSE and WebSocket, what was measured here, and what follows for the choice.
import { fixed, percent, thousands } from './markdown.mjs'

/** @typedef {import('./figures.mjs').Figures} Figures */

/**
 * @typedef {object} Claim
 * @property {string} title
 * @property {string} claimed of SSE; of WebSocket
 * @property {(figures: Figures) => string} sse
 * @property {(figures: Figures) => string} ws
 * @property {string} follows
 */

const STREAMS = 10
const WHOLE = 10_000
const MIB_IN_KIB = 1024

/** @type {Claim[]} */
export const claims = [
  {
    title: 'Latency, mean',
    claimed: '45-80 ms; 30-55 ms',
    sse: (figures) => `${fixed(latencyOf(figures, 'openai').mean, 2)} ms added`,
    ws: (figures) => `${fixed(latencyOf(figures, 'ws').mean, 2)} ms added`,
    follows: 'Neither. What a user waits for is the model and the network, which are the same for both.'
  },
  {
    title: 'Latency, p99',
    claimed: '120-200 ms; 80-150 ms',
    sse: (figures) => `${fixed(latencyOf(figures, 'openai').p99, 2)} ms added`,
    ws: (figures) => `${fixed(latencyOf(figures, 'ws').p99, 2)} ms added`,
    follows: 'Neither. It comes from how busy the core is: see the figures at 500 and 1,000 streams.'
  },
  {
    title: 'Messages a second',
    claimed: '10-50 k; 50-200 k',
    sse: (figures) => `${thousands(fastOf(figures, 'openai')?.events)} (\`openai\`), ${thousands(fastOf(figures, 'events')?.events)} (\`events\`)`,
    ws: (figures) => `${thousands(fastOf(figures, 'ws')?.events)} (\`llm-chat.v1\`), ${thousands(fastOf(figures, 'ws-openai')?.events)} (\`openai\`); naive relay ${thousands(fastOf(figures, 'ws-naive')?.events)}`,
    follows: 'Neither. The format and how many messages share a write decide, not the protocol.'
  },
  {
    title: 'CPU',
    claimed: 'low; medium',
    sse: (figures) => cpuOf(figures, 'openai'),
    ws: (figures) => cpuOf(figures, 'ws'),
    follows: 'Compare at your own pace: with one token at a time, system calls and wake-ups are the cost, and both have as many.'
  },
  {
    title: 'Memory of an idle client',
    claimed: '2 KB; 5 KB',
    sse: (figures) => `${fixed(idleOf(figures, 'sse')?.rss, 1)} KiB; plain Fastify ${fixed(idleOf(figures, 'sse-plain')?.rss, 1)} KiB`,
    ws: (figures) => `${fixed(idleOf(figures, 'ws')?.rss, 1)} KiB; plain @fastify/websocket ${fixed(idleOf(figures, 'ws-plain')?.rss, 1)} KiB`,
    follows: 'Both claims are too low for Node. A silent WebSocket is kept between chats; a stream of SSE ends with its answer.'
  },
  {
    title: 'Memory at 10,000 clients',
    claimed: '500 MB; 1.2 GB',
    sse: (figures) => `${wholeOf(figures, 'sse')} idle, ${wholeOf(figures, 'chat')} with an upstream each`,
    ws: (figures) => `${wholeOf(figures, 'ws')} idle, ${wholeOf(figures, 'ws-chat')} with an upstream each`,
    follows: 'Neither. The claims contradict those of the row above: 10,000 times 2 KB are 20 MB. The upstream\'s connection weighs most.'
  },
  {
    title: 'Reconnecting',
    claimed: 'built in; to be written',
    sse: (figures) => reconnectOf(figures, 'sse'),
    ws: (figures) => reconnectOf(figures, 'ws'),
    follows: 'WebSocket takes one round trip more. `EventSource` reconnects by itself, but for GET alone: a chat is a POST, so its client must ask again over either.'
  },
  {
    title: 'Many streams on one connection',
    claimed: 'HTTP/2 multiplexing: WebSocket is better',
    sse: (figures) => `yes, HTTP/2: ${fixed(http2Of(figures, 'openai-http2')?.cpu, 2)} us/event, ${fixed(http2Of(figures, 'openai')?.cpu, 2)} over HTTP/1.1`,
    ws: () => 'yes, by chat ids of `llm-chat.v1`; not over HTTP/2, for `ws` has no RFC 8441',
    follows: 'The claim is the wrong way round. Over HTTP/1.1 a browser opens six connections to a host, so give it HTTP/2, or one WebSocket.'
  },
  {
    title: 'Binary data',
    claimed: 'base64; native',
    sse: ({ binary }) => `64 KiB are ${binary.sseBytes.toLocaleString('en')} bytes: +${percent(binary.sseBytes / binary.size - 1)}`,
    ws: ({ binary }) => `a frame would be 65,546 bytes; refused here with ${binary.closeCode}, for chat is text`,
    follows: 'WebSocket, for audio or images. Not for chat.'
  },
  {
    title: 'Bytes around the text of a token',
    claimed: 'each message; none after the handshake',
    sse: (figures) => `${aroundOf(figures, 'openai')} (\`openai\`), ${aroundOf(figures, 'events')} (\`events\`)`,
    ws: (figures) => `${aroundOf(figures, 'ws-openai')} (\`openai\`), ${aroundOf(figures, 'ws')} (\`llm-chat.v1\`), ${aroundOf(figures, 'ws-completion')} (\`completion\`)`,
    follows: 'The JSON is the overhead. Choose the format first; SSE adds some ten bytes to it, WebSocket two to four.'
  },
  {
    title: 'Proxies and firewalls',
    claimed: 'very good; has problems',
    sse: () => 'not measured; needs buffering off',
    ws: () => 'not measured; needs the upgrade passed on',
    follows: 'SSE, where you do not run the proxies.'
  },
  {
    title: 'Client leaves, upstream closed',
    claimed: 'nothing',
    sse: (figures) => abortOf(figures, 'sse'),
    ws: (figures) => abortOf(figures, 'websocket'),
    follows: 'Neither. On a WebSocket a chat can be cancelled without closing the connection.'
  }
]

/**
 * @param {Figures} figures
 * @param {string} server
 */
function latencyOf ({ latency }, server) {
  return latency.rows.find((row) => row.server === server)?.added ?? { mean: null, p50: null, p99: null }
}

/**
 * @param {Figures} figures
 * @param {string} server
 */
export function fastOf ({ fast }, server) {
  return fast.rows.find((row) => row.server === server && row.streams === STREAMS)
}

/**
 * @param {Figures} figures
 * @param {string} server
 */
function cpuOf (figures, server) {
  const paced = figures.paced.rows.find((row) => row.server === server)
  return `${fixed(fastOf(figures, server)?.cpu, 2)} us/event fast, ${fixed(paced?.cpu, 0)} paced`
}

/**
 * @param {Figures} figures
 * @param {string} kind
 */
export function idleOf ({ idle }, kind) {
  return idle.rows.find((row) => row.kind === kind)
}

/**
 * @param {Figures} figures
 * @param {string} kind
 */
export function wholeOf (figures, kind) {
  const row = idleOf(figures, kind)
  if (row?.rss == null) return '-'
  const size = `${Math.round(row.rss * WHOLE / MIB_IN_KIB)} MiB`
  return row.connections < WHOLE ? `${size} (by ${row.connections.toLocaleString('en')})` : size
}

/**
 * @param {Figures} figures
 * @param {'sse' | 'ws'} transport
 */
function reconnectOf ({ reconnect }, transport) {
  const row = reconnect.rows.find(({ name }) => name === `${transport}-answer`)
  return `to the first token p50 ${fixed(row?.p50, 1)} ms, p99 ${fixed(row?.p99, 1)} ms`
}

/**
 * @param {Figures} figures
 * @param {string} server
 */
function http2Of ({ http2 }, server) {
  return http2.rows.find((row) => row.server === server && row.streams === STREAMS)
}

/**
 * @param {Figures} figures
 * @param {string} server
 */
function aroundOf ({ latency }, server) {
  return fixed(latency.rows.find((row) => row.server === server)?.bytesAround, 0)
}

/**
 * @param {Figures} figures
 * @param {string} transport
 */
function abortOf ({ abort }, transport) {
  const row = abort.rows.find((one) => one.transport === transport && one.phase === 'between tokens')
  return `p50 ${fixed(row?.p50, 1)} ms, p99 ${fixed(row?.p99, 1)} ms`
}
