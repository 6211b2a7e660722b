// A page in TypeScript: compiled with the types of a browser alone, and bundled for one.
import { ChatError, ChatSocket, createChatManager, streamChat } from 'fastify-llm-stream/client'
import type { ChatStream, ClientEvent, StateChange } from 'fastify-llm-stream/client'

declare const document: { body: { append: (text: string) => void } }

const manager = createChatManager({ maxConcurrentStreams: 2 })
const socket = new ChatSocket('/ws/chat', { key: async () => 'key', WebSocket, onStateChange: ({ state, delayMs }: StateChange) => show(`${state} ${delayMs ?? 0}`) })

function show (text: string): void {
  document.body.append(text)
}

function ask (prompt: string): ChatStream {
  return manager.ask('page', (options) => streamChat('/api/events', { prompt }, { ...options, fetch, credentials: 'include' }), { onText: show })
}

export async function main (): Promise<void> {
  try {
    for await (const event of socket.chat({ prompt: 'Hi' }, { signal: AbortSignal.timeout(1_000) })) show(textOf(event))
    show(await ask('Hi').text())
  } catch (error) {
    if (error instanceof ChatError) show(`${error.code}: ${error.message}, after ${error.text}`)
  }
}

function textOf (event: ClientEvent): string {
  if (event.type === 'start') return event.streamId ?? event.model
  return event.type === 'text-delta' ? event.text : ''
}
