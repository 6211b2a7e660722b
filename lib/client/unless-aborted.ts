/**
 * Waits for something, unless nobody wants it any more; keeps no listener.
 * @throws the reason of the signal, as soon as it is aborted.
 */
export async function unlessAborted<Result> (waiting: Promise<Result>, signal: AbortSignal): Promise<Result> {
  signal.throwIfAborted()
  let leave = (): void => {}
  const left = new Promise<never>((_resolve, reject) => { leave = () => reject(signal.reason) })
  signal.addEventListener('abort', leave)
  try {
    return await Promise.race([waiting, left])
  } finally {
    signal.removeEventListener('abort', leave)
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
