/** Why a command that may still be on its way is not waited for any more. */
export class TimeoutError extends Error {
  constructor (ms: number) {
    super(`Redis did not answer within ${ms} ms`)
    this.name = 'TimeoutError'
  }
}

/**
 * Waits for a promise, but neither longer than so many milliseconds nor beyond an abort. Never keeps the process alive.
 * @throws {TimeoutError} When it takes too long; the signal's reason when that is aborted.
 */
export async function inTime<T> (promise: Promise<T>, ms: number, signal: AbortSignal | undefined): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let onAbort!: () => void
  const limit = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal?.reason)
    timer = setTimeout(() => reject(new TimeoutError(ms)), ms).unref()
  })
  if (signal?.aborted === true) onAbort()
  else signal?.addEventListener('abort', onAbort)
  return await Promise.race([promise, limit]).finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  })
}
