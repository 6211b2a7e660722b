import type { Dialect } from '../../../types/dialect.ts'
import { aiSdk } from './ai-sdk.ts'
import { completion } from './completion.ts'
import { native } from './native.ts'
import { openai } from './openai.ts'
import { request } from './request.ts'

/** Every dialect, in the order in which a request's shape is compared. */
export const dialects: readonly Dialect[] = [aiSdk, native, completion, request, openai]

/** The first of the offered subprotocols that is a dialect's. */
export function chooseDialect (offered: readonly string[]): Dialect | undefined {
  return offered.map(findDialect).find((dialect) => dialect !== undefined)
}

/** The dialect of this name. */
export function findDialect (name: string | undefined): Dialect | undefined {
  return dialects.find((dialect) => dialect.name === name)
}
