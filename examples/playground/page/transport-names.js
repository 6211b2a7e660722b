/** Names of the transports in the page's markup, in the order in which they are shown. */
export const names = /** @type {const} */ (['sse', 'ws'])

/** What a person calls them, in few letters. */
export const labels = { sse: 'SSE', ws: 'WebSocket' }
