// Asks one chat after the other with the client library, and prints as JSON what stays of them in this process.
// Run: node --expose-gc client-chats.js <address of the reference server> <chats> <sse | websocket>
import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { ChatSocket, createChatManager, streamChat } from 'fastify-llm-stream/client'
import { WebSocket } from 'ws'

const [address, chats, transport] = process.argv.slice(2)
const { signal } = new AbortController()
const socket = new ChatSocket(`${address}/ws/chat`, { WebSocket })
const manager = createChatManager()

/** A whole answer, one that is stopped, one that is left, one that fails, one of a manager: whatever ends, lets go. */
async function ask (number) {
  const request = { prompt: 'Hi', model: number % 5 === 3 ? 'mock-status-400' : 'mock-fast' }
  const open = (options) => transport === 'sse' ? streamChat(`${address}/api/events`, request, { reconnect: false, ...options }) : socket.chat(request, options)
  if (number % 5 === 4) return await manager.ask('one', open, { signal }).text()
  const chat = open({ signal, onText: () => number % 5 === 1 && chat.cancel() })
  for await (const { type } of chat) if (number % 5 === 2 && type === 'text-delta') break
}

async function askAll (count) {
  let failed = 0
  for (let number = 0; number < count; number++) {
    await ask(number).catch(() => failed++)
    // A socket takes 100 messages a second.
    if (transport === 'websocket') await sleep(15)
  }
  return failed
}

/** MiB of objects that are reachable, once the responses of the last chats are let go of, too. */
async function heapMiB () {
  for (let round = 0; round < 5; round++) {
    await sleep(300)
    globalThis.gc()
  }
  return process.memoryUsage().heapUsed / 1024 / 1024
}

// Code is compiled, and caches are filled, for longer than one would think.
await askAll(500)
const before = await heapMiB()
const failed = await askAll(Number(chats))
const after = await heapMiB()
socket.close()
console.log(JSON.stringify({ before, after, failed, listeners: getEventListeners(signal, 'abort').length, running: manager.size }))
