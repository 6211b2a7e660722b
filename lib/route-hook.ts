import type { FastifyInstance, onRouteHookHandler } from 'fastify'

/**
 * Adds an `onRoute` hook before those that are there. @fastify/websocket wraps the handlers of its routes in such a hook: of
 * a host that registered it first, we would see the wrapping and not the handler. Fastify has no way to say so, so the
 * hook is moved in its own list; should that be somewhere else one day, it stays where it is.
 */
export function addFirstRouteHook (fastify: FastifyInstance, hook: onRouteHookHandler): void {
  fastify.addHook('onRoute', hook)
  const kHooks = Object.getOwnPropertySymbols(fastify).find(({ description }) => description === 'fastify.hooks')
  const { onRoute } = (fastify as unknown as Record<symbol, { onRoute?: unknown[] } | undefined>)[kHooks ?? Symbol('none')] ?? {}
  if (onRoute?.at(-1) === hook) onRoute.unshift(onRoute.pop())
}
