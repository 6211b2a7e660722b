// SSE beside WebSocket on this software: what run.mjs, idle.mjs and abort-latency.mjs do not measure.
//
//   node compare.mjs [--parts latency,reconnect,http2,binary] [--rounds 3] [--window 2500] [--tries 200] [--streams 10,100]
//
// Each part is written to results/compare-<part>.json.
import { parseArgs } from 'node:util'
import { measureBinary } from './compare/binary.mjs'
import { measureHttp2 } from './compare/http2.mjs'
import { measureLatency } from './compare/latency.mjs'
import { measureReconnect } from './compare/reconnect.mjs'
import { saveResults } from './lib/results.mjs'

const parts = { latency: measureLatency, reconnect: measureReconnect, http2: measureHttp2, binary: measureBinary }

const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: Object.keys(parts).join(',') },
    rounds: { type: 'string', default: '3' },
    window: { type: 'string', default: '2500' },
    tries: { type: 'string', default: '200' },
    streams: { type: 'string', default: '10,100' }
  }
})
const options = { rounds: Number(values.rounds), windowMs: Number(values.window), tries: Number(values.tries), streams: values.streams.split(',').map(Number) }

for (const name of values.parts.split(',')) {
  const measurePart = parts[/** @type {keyof typeof parts} */ (name)]
  if (measurePart === undefined) throw new Error(`"${name}" is no part; there are ${Object.keys(parts).join(', ')}`)
  console.log(`written: ${saveResults(`compare-${name}`, await measurePart(options))}`)
}
