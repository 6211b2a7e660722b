import type { ChatManager, ChatManagerOptions, ChatStream, OpenChat } from '../../types/client.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { createChat, type Scope } from './create-chat.ts'
import { unlessAborted } from './unless-aborted.ts'

/** A browser's window, of which Node has none. */
const page = globalThis as Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>

/**
 * Runs one answer a session: a new question stops the answer that runs. Not more than `maxConcurrentStreams` run at
 * once, for browsers open six connections to a host; others wait their turn. Whatever runs is stopped when its page
 * is left (`pagehide`).
 */
export function createChatManager ({ maxConcurrentStreams = 5 }: ChatManagerOptions = {}): ChatManager {
  const sessions = new Map<string, ChatStream>()
  /** Wake those that wait for their turn. */
  const waiting = new Set<() => void>()
  let size = 0

  const isFull = (): boolean => maxConcurrentStreams > 0 && size >= maxConcurrentStreams

  function stop (name: string): void {
    const chat = sessions.get(name)
    if (chat === undefined) return
    chat.cancel()
    forget(name, chat)
  }

  function stopAll (): void {
    for (const session of [...sessions.keys()]) stop(session)
  }

  function forget (session: string, chat: ChatStream): void {
    if (sessions.get(session) === chat) sessions.delete(session)
    if (sessions.size === 0) page.removeEventListener?.('pagehide', stopAll)
  }

  /** Waits for a turn, and gives what frees it: once, at the end, or when nobody wants the answer any more. */
  async function takeTurn (signal: AbortSignal): Promise<() => void> {
    while (isFull()) {
      let wake!: () => void
      const turn = new Promise<void>((resolve) => { wake = resolve })
      waiting.add(wake)
      await unlessAborted(turn, signal).finally(() => waiting.delete(wake))
    }
    size++
    let isTaken = true
    const free = (): void => {
      if (isTaken) size--
      isTaken = false
      for (const wake of waiting) wake()
    }
    signal.addEventListener('abort', free)
    return free
  }

  async function * run (session: string, open: OpenChat, { chat, signal, setState }: Scope): AsyncGenerator<StreamEvent, void, undefined> {
    let free: (() => void) | undefined
    try {
      free = await takeTurn(signal)
      const answer = open({ signal, onStateChange: setState })
      for await (const event of answer) {
        chat.streamId = answer.streamId
        yield event
      }
    } finally {
      free?.()
      forget(session, chat)
    }
  }

  return {
    get size () { return size },
    stop: (session) => session === undefined ? stopAll() : stop(session),
    ask (session, open, options = {}) {
      stop(session)
      const chat = createChat((scope) => run(session, open, scope), options)
      page.addEventListener?.('pagehide', stopAll)
      sessions.set(session, chat)
      return chat
    }
  }
}
