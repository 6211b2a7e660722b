import { Type } from '@sinclair/typebox'
import type { RedisStoreOptions } from '../../types/store-options.ts'
import { OptionError } from '../errors.ts'
import { count, mergeChecked } from '../options.ts'

/** Options of `redisStore()` with defaults. */
export type ResolvedRedisOptions = { readonly [Name in keyof RedisStoreOptions]-?: NonNullable<RedisStoreOptions[Name]> }

const command = Type.Function([], Type.Any())

const expectedClient = 'a client of ioredis, fastify.redis of @fastify/redis say'

const RedisStoreOptionsSchema = Type.Object({
  client: Type.Object({ eval: command, evalsha: command, duplicate: command }, { expected: expectedClient }),
  prefix: Type.String({ pattern: '^[^{}]*$', expected: 'a text without braces, which mark what Redis Cluster hashes' }),
  batchMs: count(0, 'milliseconds'),
  ttlMs: count(1, 'milliseconds'),
  tombstoneMs: count(1, 'milliseconds'),
  maxStreamBytes: count(1, 'bytes'),
  maxBufferBytes: count(1, 'bytes'),
  leaseMs: count(100, 'milliseconds'),
  commandTimeoutMs: count(1, 'milliseconds'),
  patienceMs: count(0, 'milliseconds')
})

const defaults: Omit<ResolvedRedisOptions, 'client'> = {
  prefix: 'llm:',
  batchMs: 15,
  ttlMs: 600_000,
  tombstoneMs: 86_400_000,
  maxStreamBytes: 8 * 1024 * 1024,
  maxBufferBytes: 16 * 1024 * 1024,
  leaseMs: 8_000,
  commandTimeoutMs: 2_000,
  patienceMs: 10_000
}

/**
 * Checks options and fills in defaults.
 * @throws LLM_ERR_OPTION when one is missing, unknown or wrong.
 */
export function resolveRedisOptions (options: RedisStoreOptions): ResolvedRedisOptions {
  const resolved = mergeChecked(RedisStoreOptionsSchema, defaults as ResolvedRedisOptions, options, '')
  if (resolved.client === undefined) throw new OptionError('client', 'missing', expectedClient)
  return resolved
}
