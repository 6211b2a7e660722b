/**
 * @typedef {object} Step
 * @property {string} title
 * @property {string[]} command file and arguments, of Node
 */

/** Compared with each other in many rounds. */
const close = 'raw,openai,events,fastify-sse,ws-naive,ws,ws-completion,ws-openai'
/** So far from ours that few rounds tell; `raw` shows how this run differs from the other. */
const far = 'raw,better-sse,express-article,hono,openai-sdk,ai-sdk,portkey,nginx,fastify-websocket'
const paced = 'direct,raw,openai,events,ws-naive,ws'
const pacedMany = 'direct,openai,ws'

const whole = { rounds: '5', farRounds: '2', warm: '4000', window: '2000', pacedWindow: '3000', connections: '10000', clients: '50', abortRounds: '5', compareRounds: '3', compareWindow: '2000', tries: '200', more: /** @type {string[]} */ ([]) }
const short = { ...whole, rounds: '1', farRounds: '1', warm: '200', window: '500', pacedWindow: '1000', connections: '1500', clients: '10', abortRounds: '1', compareRounds: '1', compareWindow: '500', more: ['--no-verify'] }

/**
 * @param {{ isShort: boolean }} options short: too little to mean anything, to try out what reads the results
 * @returns {Step[]}
 */
export function stepsOf ({ isShort }) {
  const { rounds, farRounds, warm, window, pacedWindow, connections, clients, abortRounds, compareRounds, compareWindow, tries, more } = isShort ? short : whole
  const timing = ['--warm', warm, '--window', window]
  const pacedTiming = ['--mode', 'paced', '--warm', '2000', '--window', pacedWindow, '--no-verify']
  return [
    { title: 'fast', command: ['run.mjs', '--name', 'all-fast', '--servers', close, '--streams', '10,100', '--rounds', rounds, ...timing, ...more] },
    { title: 'other servers', command: ['run.mjs', '--name', 'all-others', '--servers', far, '--streams', '10', '--rounds', farRounds, ...timing, ...more] },
    { title: 'paced', command: ['run.mjs', '--name', 'all-paced', '--servers', paced, '--streams', '500', '--rounds', rounds, ...pacedTiming] },
    { title: 'paced, more streams', command: ['run.mjs', '--name', 'all-paced-many', '--servers', pacedMany, '--streams', '1000', '--rounds', '1', ...pacedTiming] },
    { title: 'idle connections', command: ['idle.mjs', '--connections', connections, '--rounds', '1'] },
    { title: 'clients that leave', command: ['abort-latency.mjs', clients, abortRounds] },
    { title: 'SSE beside WebSocket', command: ['compare.mjs', '--rounds', compareRounds, '--window', compareWindow, '--tries', tries] },
    { title: 'plots and tables', command: ['plot.mjs', '--from-results'] }
  ]
}
