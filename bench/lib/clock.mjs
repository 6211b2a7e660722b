/**
 * A clock that all processes of this machine share and that nobody sets.
 * @returns {number} microseconds
 */
export function microseconds () {
  return Number(process.hrtime.bigint() / 1000n)
}
