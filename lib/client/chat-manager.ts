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

  function stop (session?: string): void {
    for (const [name, chat] of sessions) {
      if (session !== undefined && session !== name) continue
      chat.cancel()
      forget(name, chat)
    }
  }

  const isFull = (): boolean => size >= maxConcurrentStreams
  const onPageHide = (): void => stop()

  function forget (session: string, chat: ChatStream): void {
    if (sessions.get(session) === chat) sessions.delete(session)
    if (sessions.size === 0) page.removeEventListener?.('pagehide', onPageHide)
  }

  async function * run (session: string, open: OpenChat, { chat, signal, setState }: Scope): AsyncGenerator<StreamEvent, void, undefined> {
    let isRunning = false
    try {
      while (isFull()) await unlessAborted(new Promise<void>((resolve) => waiting.add(resolve)), signal)
      isRunning = true
      size++
      const answer = open({ signal, onStateChange: setState })
      for await (const event of answer) {
        chat.streamId = answer.streamId
        yield event
      }
    } finally {
      if (isRunning) size--
      forget(session, chat)
      for (const wake of waiting) wake()
      waiting.clear()
    }
  }

  return {
    get size () { return size },
    stop,
    ask (session, open, options = {}) {
      stop(session)
      const chat = createChat((scope) => run(session, open, scope), options)
      page.addEventListener?.('pagehide', onPageHide)
      sessions.set(session, chat)
      return chat
    }
  }
}
