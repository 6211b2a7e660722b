import type { Frame } from '../../types/batch.ts'
import type { StreamEventContext, StreamHooks, StreamInfo } from '../../types/hooks.ts'
import { HookError } from '../errors.ts'
import { eachFrame } from './each-frame.ts'

type EventHook = NonNullable<StreamHooks['onStreamEvent']>

/** The event hooks of one stream. */
export interface EventHooks {
  readonly hooks: readonly EventHook[]
  readonly info: StreamInfo
  /** Whether a hook may put this in the place of an event. */
  readonly accepts: (event: unknown) => boolean
}

/**
 * Passes every event of some frames through the `onStreamEvent` hooks. A frame whose events come back untouched keeps
 * its upstream chunk; another loses it, and clients get what the hooks made.
 * @throws LLM_ERR_HOOK when a hook throws, or returns what is no event: text would be lost, or shown that was not judged.
 */
export async function applyEventHooks (
  frames: ReadonlyArray<Frame<unknown>>, hooks: EventHooks
): Promise<ReadonlyArray<Frame<unknown>>> {
  const out: Array<Frame<unknown>> = []
  for (const frame of frames.flatMap(eachFrame)) out.push(await applyToFrame(frame, hooks))
  return out
}

async function applyToFrame (frame: Frame<unknown>, hooks: EventHooks): Promise<Frame<unknown>> {
  const out: unknown[] = []
  for (const event of frame.events) out.push(...await applyToEvent(event, hooks))
  const untouched = out.length === frame.events.length && out.every((event, index) => event === frame.events[index])
  return untouched ? frame : { events: out }
}

async function applyToEvent (event: unknown, hooks: EventHooks): Promise<unknown[]> {
  let events = [event]
  for (const hook of hooks.hooks) {
    const next: unknown[] = []
    for (const one of events) next.push(...await callHook(hook, one, hooks))
    events = next
  }
  return events
}

async function callHook (hook: EventHook, event: unknown, { info, accepts }: EventHooks): Promise<readonly unknown[]> {
  // Frozen, so that a hook that changes the event in place fails loudly: the upstream's chunk would still show the old.
  const context = { ...info, event: freezePlain(event) } as StreamEventContext
  const result = await call(hook, context)
  if (result === undefined) return [event]
  if (result === null) return []
  const events = Array.isArray(result) ? result : [result]
  if (events.every((one) => one === event || accepts(one))) return events
  throw new HookError({ cause: new TypeError('onStreamEvent returned what is no event; return nothing to keep the event, null to drop it, an event or a list of events') })
}

async function call (hook: EventHook, context: StreamEventContext): Promise<unknown> {
  try {
    return await hook(context)
  } catch (error) {
    throw new HookError({ cause: error })
  }
}

function freezePlain (event: unknown): unknown {
  // Bytes cannot be frozen, and an item of a host's own class is the host's to change.
  if (Object.getPrototypeOf(event ?? 0) === Object.prototype) Object.freeze(event)
  return event
}
