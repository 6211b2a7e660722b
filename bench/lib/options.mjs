import { parseArgs } from 'node:util'
import { findServers } from '../servers/index.mjs'

/** @typedef {import('./measure.mjs').Plan} Plan */

/**
 * @typedef {object} Options
 * @property {boolean} isQuick
 * @property {import('../servers/index.mjs').Server[]} servers
 * @property {Array<Plan>} plans one for each number of streams
 * @property {number} rounds
 * @property {boolean} verifies
 * @property {string} name of the file of results
 */

const quick = { servers: 'raw,openai,events,ui-messages,ws-naive,ws-completion,ws,ws-openai,ws-ui-messages', streams: '10', mode: 'fast', rounds: '3', warm: '1000', window: '2000' }
const full = {
  fast: { servers: 'raw,openai,events,fastify-sse,better-sse,express-article,hono,openai-sdk,ai-sdk,portkey,nginx,ws-naive,fastify-websocket,ws-completion,ws,ws-openai', streams: '1,10,100', rounds: '3', warm: '1500', window: '5000' },
  paced: { servers: 'direct,raw,openai,events,fastify-sse,nginx,ws-naive,ws-completion,ws,ws-openai', streams: '200,500', rounds: '3', warm: '2000', window: '5000' }
}
const common = { tokens: { fast: '2000', paced: '500' }, batch: '16', rate: '50' }

export const usage = `node run.mjs [options]

  --quick            ours beside the raw pipe and the naive WebSocket relay, with the ratios
  --mode fast|paced  an upstream that writes as fast as it can, or one token at a time (fast)
  --servers a,b      names as in servers/index.mjs (fast: ${full.fast.servers};
                     paced: ${full.paced.servers})
  --streams 10,100   streams at once, measured one after the other (fast: ${full.fast.streams}; paced: ${full.paced.streams})
  --rounds 3         how often all are measured, in turns
  --warm 1500        ms before the window
  --window 5000      ms that are measured
  --tokens 2000      tokens of an answer (paced: 500)
  --batch 16         events in one write of the fast upstream
  --rate 50          tokens a second of each paced stream
  --name fast        of the file of results
  --no-verify        do not check the servers first`

/**
 * @param {string[]} args of the command line
 * @returns {Options | undefined} nothing when help was asked for
 */
export function readOptions (args) {
  const { values } = parseArgs({
    args,
    allowNegative: true,
    options: {
      quick: { type: 'boolean', default: false },
      verify: { type: 'boolean', default: true },
      help: { type: 'boolean', default: false },
      ...Object.fromEntries(['mode', 'servers', 'streams', 'rounds', 'warm', 'window', 'tokens', 'batch', 'rate', 'name'].map((name) => [name, { type: 'string' }]))
    }
  })
  return values.help ? undefined : toOptions(values)
}

/**
 * @param {Record<string, any>} values of the command line
 * @returns {Options}
 */
function toOptions (values) {
  const mode = toMode(values.mode ?? 'fast')
  const base = { ...common, tokens: common.tokens[mode], ...full[mode], ...(values.quick ? quick : {}) }
  /** @type {Record<string, any>} */
  const all = { ...base, ...values, mode }
  return {
    isQuick: all.quick,
    verifies: all.verify,
    rounds: toNumber('rounds', all.rounds),
    name: all.name ?? (all.quick ? 'quick' : mode),
    servers: findServers(all.servers.split(',')),
    plans: all.streams.split(',').map((/** @type {string} */ streams) => toPlan({ ...all, streams }))
  }
}

/**
 * @param {string} text
 * @returns {'fast' | 'paced'}
 */
function toMode (text) {
  if (text !== 'fast' && text !== 'paced') throw new Error(`"${text}" is no mode; there are fast and paced`)
  return text
}

/**
 * @param {Record<string, any>} texts
 * @returns {Plan}
 */
function toPlan ({ mode, streams, tokens, batch, rate, warm, window }) {
  return {
    mode,
    streams: toNumber('streams', streams),
    tokens: toNumber('tokens', tokens),
    batch: toNumber('batch', batch),
    rate: toNumber('rate', rate),
    warmMs: toNumber('warm', warm),
    windowMs: toNumber('window', window)
  }
}

/**
 * @param {string} name
 * @param {string} text
 */
function toNumber (name, text) {
  const number = Number(text)
  if (!Number.isInteger(number) || number <= 0) throw new Error(`--${name} wants a whole number above 0, not "${text}"`)
  return number
}
