/**
 * What a request orders, by the name of its model: `fast?tokens=2000&batch=16`.
 * @typedef {object} Order
 * @property {string} mode `fast`, `paced`, `split`, `flood` or `silent`
 * @property {number} tokens in the answer
 * @property {number} batch events a write, of `fast` and `flood`
 * @property {number} rate tokens a second, of `paced`
 * @property {number} cut bytes a write, of `split`
 * @property {boolean} withUsage
 */

const defaults = { tokens: 64, batch: 16, rate: 50, cut: 97 }

/**
 * @param {string} body of a Chat Completions request
 * @returns {Order}
 */
export function readOrder (body) {
  // By pattern: a body that came in chunks has their sizes in between, and nothing here needs the rest of it.
  const model = /"model"\s*:\s*"([^"]*)"/.exec(body)?.[1] ?? 'fast'
  const [mode, query] = model.split('?', 2)
  const given = Object.fromEntries([...new URLSearchParams(query)].map(([name, value]) => [name, Number(value)]))
  return { ...defaults, ...given, mode, withUsage: /"include_usage"\s*:\s*true/.test(body) }
}
