/** Longest time that a timer takes. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/** Whether a time is a bound: `0`, and more than a timer takes, is none. */
export function isBound (ms: number): boolean {
  return ms > 0 && ms <= MAX_TIMER_MS
}

/**
 * Waits for something, unless nobody wants it any more; keeps no listener.
 * @throws the reason of the signal, as soon as it is aborted.
 */
export async function unlessAborted<Result> (waiting: Promise<Result>, signal: AbortSignal): Promise<Result> {
  let leave!: () => void
  const left = new Promise<never>((_resolve, reject) => { leave = () => reject(signal.reason) })
  signal.addEventListener('abort', leave)
  if (signal.aborted) leave()
  try {
    return await Promise.race([left, waiting])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

/**
 * The same, but for no longer than some time.
 * @param ms Milliseconds, where they are a bound ({@link isBound}).
 * @param onTimeout Makes what is thrown then.
 */
export async function within<Result> (ms: number, waiting: Promise<Result>, signal: AbortSignal, onTimeout: () => unknown): Promise<Result> {
  if (!isBound(ms)) return await unlessAborted(waiting, signal)
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_resolve, reject) => { timer = setTimeout(() => reject(onTimeout()), ms) })
  try {
    return await unlessAborted(Promise.race([waiting, late]), signal)
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for some milliseconds, unless nobody wants to any more. */
export async function sleep (ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    await unlessAborted(new Promise((resolve) => { timer = setTimeout(resolve, ms) }), signal)
  } finally {
    clearTimeout(timer)
  }
}
