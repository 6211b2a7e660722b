// A React hook for a chat, over any route that streams one. React 18 and 19.
import { useCallback, useEffect, useRef, useState } from 'react'
import { streamChat } from 'fastify-llm-stream/client'

/** @typedef {'idle' | 'streaming' | 'done' | 'stopped' | 'error'} Status */
/** @typedef {import('fastify-llm-stream/client').ChatStream} ChatStream */

/** @type {{ text: string, status: Status, error: unknown }} */
const idle = { text: '', status: 'idle', error: undefined }

/**
 * Asks one thing at a time: a new question stops the answer that runs, and so does an unmount.
 * @param {string} url Address of the route.
 */
export function useChat (url) {
  const [answer, setAnswer] = useState(idle)
  const running = useRef(/** @type {ChatStream | undefined} */ (undefined))

  const stop = useCallback(() => running.current?.cancel(), [])

  const ask = useCallback((/** @type {import('fastify-llm-stream/client').ClientChatRequest} */ request) => {
    stop()
    // What a stopped answer still tells is not shown.
    const isCurrent = () => running.current === chat
    /** @type {ChatStream} */
    const chat = running.current = streamChat(url, request, {
      onText: (text) => isCurrent() && setAnswer((last) => ({ ...last, text: last.text + text })),
      onEnd: ({ error, reason }) => isCurrent() && setAnswer((last) => (
        { ...last, error, status: error ? 'error' : reason === 'complete' ? 'done' : 'stopped' }
      ))
    })
    setAnswer({ ...idle, status: 'streaming' })
  }, [url, stop])

  useEffect(() => () => {
    stop()
    running.current = undefined
  }, [stop])

  return { ...answer, ask, stop }
}
