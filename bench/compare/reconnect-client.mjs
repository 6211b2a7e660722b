// Cuts connections and opens them anew, one at a time, all kinds in turns.
//
//   node compare/reconnect-client.mjs '<{ port, tries, warmTries, targets } as JSON>'
//
// Prints one line of JSON: of each kind, the milliseconds of all tries.
import { openConnection } from '../lib/open-connection.mjs'

const { port, tries, warmTries, targets } = JSON.parse(process.argv[2])
/** @type {Array<{ target: any, socket: import('node:net').Socket | undefined, times: number[] }>} */
const clients = targets.map((/** @type {object} */ target) => ({ target: { ...target, port }, socket: undefined, times: [] }))

for (let count = 0; count < warmTries + tries; count++) {
  for (const client of clients) client.times.push(await reconnect(client))
}
console.log(JSON.stringify(clients.map(({ times }) => times.slice(warmTries))))
process.exit()

/**
 * @param {typeof clients[number]} client
 * @returns {Promise<number>} milliseconds from the cut to what tells that the new connection is of use
 */
async function reconnect (client) {
  const cutAt = performance.now()
  client.socket?.destroy()
  client.socket = await openConnection(client.target)
  return performance.now() - cutAt
}
