/** @typedef {(direction: import('./wire-log.js').Direction, text: string) => void} Tap */

/**
 * A `fetch` for the client library that tells what goes over the wire, event by event.
 * @param {Tap} tap
 * @returns {import('fastify-llm-stream/client').FetchLike}
 */
export function tappedFetch (tap) {
  return async (url, init) => {
    tap('sent', `${init.method} ${url}`)
    if (init.body !== undefined) tap('sent', init.body)
    const response = await fetch(url, /** @type {RequestInit} */ (init)).catch((error) => {
      if (!init.signal.aborted) tap('note', `no answer: ${error.message}`)
      throw error
    })
    tap('received', `HTTP ${response.status}, ${response.headers.get('content-type')}`)
    return tappedResponse(response, init.signal, tap)
  }
}

/**
 * @param {Response} response
 * @param {AbortSignal} signal
 * @param {Tap} tap
 */
function tappedResponse (response, signal, tap) {
  const { ok, status, headers, body } = response
  const text = async () => {
    const whole = await response.text()
    tap('received', whole)
    return whole
  }
  return { ok, status, headers, text, body: body === null ? null : { getReader: () => tappedReader(body.getReader(), signal, tap) } }
}

/**
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {AbortSignal} signal
 * @param {Tap} tap
 */
function tappedReader (reader, signal, tap) {
  const decoder = new TextDecoder()
  let rest = ''
  const take = (/** @type {Uint8Array | undefined} */ bytes) => {
    const blocks = (rest + decoder.decode(bytes, { stream: true })).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) tap('received', block)
  }
  const end = (/** @type {string} */ how) => {
    if (rest !== '') tap('received', rest)
    tap('note', how)
  }
  return {
    async read () {
      try {
        const { done, value } = await reader.read()
        if (done) end('the response ended')
        else take(value)
        return { done, value }
      } catch (error) {
        end(signal.aborted ? 'this page closed the request' : `the response broke off: ${/** @type {Error} */ (error).message}`)
        throw error
      }
    }
  }
}

/**
 * A `WebSocket` for the client library that tells what goes over the wire.
 * @param {Tap} tap
 */
export function tappedWebSocket (tap) {
  return class extends WebSocket {
    /**
     * @param {string} url
     * @param {string[]} protocols
     */
    constructor (url, protocols) {
      super(url, protocols)
      tap('sent', `GET ${url}, upgrade: websocket, sec-websocket-protocol: ${protocols.join(', ')}`)
      this.addEventListener('open', () => tap('received', `HTTP 101, sec-websocket-protocol: ${this.protocol}`))
      this.addEventListener('message', ({ data }) => tap('received', String(data)))
      this.addEventListener('close', ({ code, reason }) => tap('note', `closed with code ${code} ${reason}`))
    }

    /**
     * @override
     * @param {string} data
     */
    send (data) {
      tap('sent', data)
      super.send(data)
    }
  }
}
