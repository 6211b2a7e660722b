import type { ChatManager, ChatManagerOptions, ChatStream, OpenChat } from '../../types/client.ts'
import { createChat, type OwnChat, type SetState } from './create-chat.ts'
import type { SourceEvent } from './decode-events.ts'
import { wait } from './wait.ts'

/**
 * Runs one answer a session: a new question stops the answer that runs. Not more than `maxConcurrentStreams` run at
 * once, for browsers open six connections to a host; others wait their turn. Whatever runs is stopped when its page
 * is left (`pagehide`).
 */
export function createChatManager ({ maxConcurrentStreams = 5 }: ChatManagerOptions = {}): ChatManager {
  const sessions = new Map<string, ChatStream>()
  /** Wake those that wait for their turn. */
  const waiting: Array<() => void> = []
  let size = 0

  const isFull = (): boolean => maxConcurrentStreams > 0 && size >= maxConcurrentStreams

  function stop (session?: string): void {
    for (const [name, { cancel }] of sessions) if (name === (session ?? name)) cancel()
  }

  /** Waits for a turn, which is over as soon as nobody wants the answer any more, read or not. */
  async function takeTurn (signal: AbortSignal): Promise<void> {
    while (isFull()) {
      await wait(signal, 0, new Promise<void>((resolve) => { waiting.push(resolve) }))
      signal.throwIfAborted()
    }
    size++
    signal.addEventListener('abort', () => {
      size--
      for (const wake of waiting.splice(0)) wake()
    })
  }

  async function * run (session: string, open: OpenChat, chat: OwnChat, signal: AbortSignal, setState: SetState): AsyncGenerator<SourceEvent, void, undefined> {
    // The session's next answer stops this one before it takes its place.
    signal.addEventListener('abort', () => sessions.delete(session))
    // Of a browser; Node has none.
    const page = globalThis as Partial<EventTarget>
    page.addEventListener?.('pagehide', chat.cancel, { signal })
    await takeTurn(signal)
    const answer = open({ signal, onStateChange: setState })
    for await (const event of answer) {
      chat.streamId = answer.streamId
      yield event
    }
  }

  return {
    get size () { return size },
    stop,
    ask (session, open, options = {}) {
      stop(session)
      const chat = createChat((...scope) => run(session, open, ...scope), options)
      sessions.set(session, chat)
      return chat
    }
  }
}
