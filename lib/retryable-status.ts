/** Whether a request that was refused with this HTTP status may succeed later: 408, 429, and the server's own failures. */
export function isRetryableStatus (status: number): boolean {
  return status === 408 || status === 429 || status >= 500
}
