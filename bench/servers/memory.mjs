// For servers whose memory is measured, started with --expose-gc: what is garbage is gone before anyone looks.

/** Collections after which nothing more is found, finalizers included. */
const COLLECTIONS = 4

/**
 * Adds GET /memory.
 * @param {import('fastify').FastifyInstance} app
 */
export function addMemoryRoute (app) {
  app.get('/memory', () => {
    for (let count = 0; count < COLLECTIONS; count++) globalThis.gc?.()
    const { rss, heapUsed: heap } = process.memoryUsage()
    return { rss, heap }
  })
}
