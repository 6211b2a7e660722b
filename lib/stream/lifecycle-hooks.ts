import type { StreamHooks, StreamInfo } from '../../types/hooks.ts'

/** Hooks that are told of something, and change nothing. */
type LifecycleHook = Exclude<keyof StreamHooks, 'onStreamEvent'>

/** Runs one lifecycle hook of plugin, route and call, in this order. One that throws is logged and harms nothing. */
export async function runLifecycleHooks (all: readonly StreamHooks[], name: LifecycleHook, context: StreamInfo): Promise<void> {
  for (const hooks of all) {
    try {
      await (hooks[name] as ((context: StreamInfo) => unknown) | undefined)?.(context)
    } catch (error) {
      context.log.error({ err: error, streamId: context.id }, `the ${name} hook failed`)
    }
  }
}
