/**
 * Waits for some milliseconds.
 * @param signal Of one answer: its listener ends with it.
 * @throws the reason of the signal, as soon as it is aborted.
 */
export function sleep (ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(signal.reason)
    })
  })
}
