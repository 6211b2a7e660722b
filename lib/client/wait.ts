import { timeout } from './errors.ts'

/** Whether a time is a bound: `0`, and more than a timer takes, is none. */
export function isBound (ms: number): boolean {
  return ms > 0 && ms < 2 ** 31
}

/**
 * Waits for something, unless nobody wants it any more; keeps no listener and no timer.
 * @param ms Longest wait in milliseconds, where it is a bound ({@link isBound}).
 * @param waiting Without it, the time is all that is waited for.
 * @throws the reason of the signal, as soon as it is aborted; a `ChatError` when the time is over.
 */
export async function wait<Result> (signal: AbortSignal, ms: number, waiting?: Promise<Result>): Promise<Result> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let leave!: () => void
  return await new Promise<Result>((resolve, reject) => {
    leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave)
    if (signal.aborted) leave()
    if (isBound(ms)) timer = setTimeout(waiting ? () => reject(timeout(ms)) : resolve as () => void, ms)
    waiting?.then(resolve, reject)
  }).finally(() => {
    signal.removeEventListener('abort', leave)
    clearTimeout(timer)
  })
}
