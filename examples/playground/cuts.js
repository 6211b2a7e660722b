// "Cut the connection": what a broken network does, on demand. A page names its connections by an id that it has made up
// and nobody else can guess; what has that id is destroyed when the page asks for it, and nothing else.

/** Answers to watch, by route, and for how long a connection is the page's own. */
const watched = /** @type {const} */ ({ '/api/events': 'answer', '/api/streams/:id': 'answer', '/ws/chat': 'socket' })

const idPattern = '^[0-9a-f]{32}$'

/** Ids at once, and connections of one id; what is beyond them is not noted, so it cannot be cut. */
const maxIds = 1_000
const maxConnections = 16

/**
 * Adds the hook that notes connections, and `POST /playground/cut`.
 * @param {import('fastify').FastifyInstance} app
 */
export function connectionCuts (app) {
  const connections = new Connections()
  app.addHook('onRequest', async (request, reply) => {
    const holds = watched[/** @type {keyof typeof watched} */ (request.routeOptions.url)]
    const { playground: id } = /** @type {{ playground?: unknown }} */ (request.query)
    if (holds === undefined || typeof id !== 'string' || !new RegExp(idPattern).test(id)) return
    // Between its answers, a kept-alive connection may serve somebody else: a proxy shares it.
    connections.add(id, request.raw.socket, holds === 'answer' ? reply.raw : request.raw.socket)
  })
  const schema = { body: { type: 'object', required: ['id'], properties: { id: { type: 'string', pattern: idPattern } } } }
  app.post('/playground/cut', { schema }, (request) => ({ cut: connections.cut(/** @type {{ id: string }} */ (request.body).id) }))
}

/** Open connections by the id of their page. */
class Connections {
  /** @type {Map<string, Set<import('node:net').Socket>>} */
  #byId = new Map()

  /**
   * @param {string} id
   * @param {import('node:net').Socket} socket
   * @param {import('node:events').EventEmitter} holder Its `close` lets go of the socket.
   */
  add (id, socket, holder) {
    const sockets = this.#byId.get(id) ?? new Set()
    if (sockets.size >= maxConnections || (sockets.size === 0 && this.#byId.size >= maxIds)) return
    this.#byId.set(id, sockets.add(socket))
    holder.once('close', () => {
      sockets.delete(socket)
      if (sockets.size === 0 && this.#byId.get(id) === sockets) this.#byId.delete(id)
    })
  }

  /**
   * Destroys the connections of an id, without a goodbye.
   * @param {string} id
   * @returns {number} How many there were.
   */
  cut (id) {
    const sockets = Array.from(this.#byId.get(id) ?? [])
    for (const socket of sockets) socket.destroy()
    return sockets.length
  }
}
