/** @typedef {import('./rounds.mjs').Row} Row */

/** How much CPU an event may cost, as a share of what another server of the same run takes for it. */
export const bounds = [
  { name: 'openai', beside: 'raw', most: 0.7 },
  { name: 'events', beside: 'raw', most: 1.5 },
  { name: 'events', beside: 'fastify-sse', most: 0.4 },
  { name: 'ui-messages', beside: 'raw', most: 1.5 },
  { name: 'ui-messages', beside: 'fastify-sse', most: 0.4 },
  { name: 'ws', beside: 'ws-naive', most: 0.25 },
  { name: 'ws-ui-messages', beside: 'ws-naive', most: 0.25 },
  { name: 'ws-completion', beside: 'ws-naive', most: 0.25 },
  { name: 'ws-openai', beside: 'ws-naive', most: 0.18 }
]
export const pacedBounds = [
  { name: 'openai', beside: 'raw', most: 1.1 },
  { name: 'events', beside: 'raw', most: 1.1 }
]

/**
 * @param {Row[]} rows
 * @param {'fast' | 'paced'} mode
 * @returns {string[]} a line for each bound whose two servers were measured
 */
export function ratios (rows, mode) {
  const streams = [...new Set(rows.map((row) => row.streams))]
  return streams.flatMap((count) => (mode === 'paced' ? pacedBounds : bounds).flatMap((bound) => ratio(rows, count, bound)))
}

/**
 * @param {Row[]} rows
 * @param {number} streams
 * @param {{ name: string, beside: string, most: number }} bound
 */
function ratio (rows, streams, { name, beside, most }) {
  /** @param {string} wanted */
  const costOf = (wanted) => rows.find((row) => row.server.name === wanted && row.streams === streams)?.cpuPerEvent
  const [own, other] = [costOf(name), costOf(beside)]
  if (!own || !other) return []
  const share = own / other
  return [`${name} ${share.toFixed(2)}x ${beside} (must be <= ${most}), ${streams} streams: ${share <= most ? 'yes' : 'NO'}`]
}
