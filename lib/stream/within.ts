/** Waits for a promise that never rejects, but not longer than so many milliseconds. */
export async function within (promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => { timer = setTimeout(resolve, ms) })
  await Promise.race([promise, limit])
  clearTimeout(timer)
}
