/** Where an HTTP server keeps what has to be shut down with it. */
const kShutdowns = Symbol('fastify-llm-stream.shutdowns')

/**
 * Makes a `preClose` hook that begins the shutdowns of all instances of this plugin on one server: Fastify runs such hooks
 * one after another, and their graces would add up.
 * @param shutDown Begins the shutdown of this instance.
 * @returns Waits for this instance.
 */
export function shutdownOf (server: object & { [kShutdowns]?: Set<() => Promise<void>> }, shutDown: () => Promise<void>): () => Promise<void> {
  let ended: Promise<void> | undefined
  const begin = (): Promise<void> => { ended ??= shutDown(); return ended }
  const shutdowns = server[kShutdowns] ??= new Set()
  shutdowns.add(begin)
  return async () => {
    for (const one of shutdowns) one().catch(() => {})
    await begin()
  }
}
