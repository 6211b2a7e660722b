import Fastify from 'fastify'
import { Redis } from 'ioredis'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { describe, expect, test } from 'tstyche'
import llmStream, { AiSdkChatRequest, ChatRequest, createWebSocketAdapter, memoryStore, toChatRequest } from '../../lib/index.ts'
import type { Chat, ChatMessage, ClientFrame, Llm, ReadyFrame, PluginOptions, StreamEvent, StreamOptions, StreamStore, StreamSummary } from '../../lib/index.ts'
import { redisStore } from '../../lib/redis/index.ts'

const app = Fastify()

describe('app.register(llmStream)', () => {
  test('accepts the options of the plugin, and nothing else', () => {
    app.register(llmStream, { upstream: { baseUrl: 'https://api.example.com/v1', apiKey: 'sk' }, heartbeatMs: 0 })

    expect<PluginOptions>().type.toBeAssignableFrom<{ upstream: { baseUrl: string } }>()
    expect<PluginOptions>().type.not.toBeAssignableFrom<{ upstream: { apiKey: string } }>()
    expect<PluginOptions>().type.not.toBeAssignableFrom<{ heartbeatMs: number }>()
  })

  test('accepts an upstream over WebSocket', () => {
    app.register(llmStream, { upstream: { baseUrl: 'wss://api.example.com/chat', dialect: 'websocket', websocket: { frames: 'request', credentials: 'query' } } })

    expect(createWebSocketAdapter({ baseUrl: 'wss://api.example.com/chat' })).type.toBeAssignableTo<PluginOptions['upstream']>()
    expect<PluginOptions>().type.not.toBeAssignableFrom<{ upstream: { baseUrl: string, dialect: 'morse' } }>()
  })
})

describe('augmentation', () => {
  test('adds llm to the instance', () => {
    expect(app.llm).type.toBe<Llm>()
    expect(app.llm.chat({ prompt: 'Hi' })).type.toBe<Chat>()
    expect<Chat>().type.toBeAssignableTo<AsyncIterable<StreamEvent>>()
  })

  test('adds sseStream() and clientSignal to the reply', () => {
    expect<FastifyReply['clientSignal']>().type.toBe<AbortSignal>()
    expect<ReturnType<FastifyReply['sseStream']>>().type.toBe<Promise<FastifyReply>>()
    app.get('/number', (_request, reply) => {
      expect(reply.sseStream).type.not.toBeCallableWith(1)
      return reply.sseStream([1, 2])
    })
  })

  test('adds sseResume() to the reply, and a stop that may be another instance\'s', () => {
    app.get<{ Params: { id: string } }>('/streams/:id', (request, reply) => {
      expect(reply.sseResume).type.not.toBeCallableWith(1)
      expect(app.llm.streams.stop(request.params.id, request)).type.toBe<boolean | Promise<boolean>>()
      return reply.sseResume(request.params.id, { format: 'openai' })
    })
    expect(redisStore).type.toBeCallableWith({ client: new Redis({ lazyConnect: true }) })
    expect(redisStore).type.not.toBeCallableWith({})
    expect(memoryStore({ ttlMs: 1 })).type.toBe<StreamStore>()
    expect<PluginOptions['store']>().type.toBe<StreamStore | undefined>()
  })

  test('adds stream to route options', () => {
    app.post<{ Body: ChatRequest }>('/chat', { schema: { body: ChatRequest }, stream: { format: 'events' } }, (request, reply) => {
      expect(request.body).type.toBe<ChatRequest>()
      return reply.sseStream(app.llm.chat(request.body), { heartbeatMs: false })
    })
    expect<StreamOptions>().type.not.toBeAssignableFrom<{ format: 'xml' }>()
  })

  test('makes chat requests of what the AI SDK posts', () => {
    app.post<{ Body: AiSdkChatRequest }>('/ai-sdk', { schema: { body: AiSdkChatRequest }, stream: { format: 'ai-sdk' } }, (request, reply) => {
      const chatRequest = toChatRequest(request.body)
      expect(chatRequest).type.toBeAssignableTo<ChatRequest>()
      expect(chatRequest.messages).type.toBe<ChatMessage[]>()
      return reply.sseStream(app.llm.chat({ ...chatRequest, messages: [{ role: 'system', content: 'Answer briefly.' }, ...chatRequest.messages] }))
    })
    expect(toChatRequest).type.not.toBeCallableWith({ model: 'gpt-4.1' })
  })
})

describe('app.llm.socket()', () => {
  test('is the handler of a WebSocket route', () => {
    app.get('/ws', { websocket: true, stream: { dialect: 'completion', highWaterMarkBytes: 1 } }, app.llm.socket({ allowQueryKey: true }))
    app.route({ method: 'GET', url: '/both', handler: () => 'plain', wsHandler: app.llm.socket() })

    expect(app.llm.socket).type.not.toBeCallableWith({ dialect: 'xml' })
    expect<FastifyRequest['clientKey']>().type.toBe<string | undefined>()
    expect(app.llm.streams.stats().connections.active).type.toBe<number>()
  })

  test('speaks frames that have types', () => {
    expect<ClientFrame['type']>().type.toBe<'chat' | 'resume' | 'cancel' | 'ping'>()
    expect<ReadyFrame['protocol']>().type.toBe<'llm-chat.v1'>()
  })
})

describe('StreamEvent', () => {
  test('is told apart by type', () => {
    expect<Extract<StreamEvent, { type: 'text-delta' }>>().type.toBe<{ type: 'text-delta', choice: number, text: string }>()
    expect<StreamEvent['type']>().type.not.toBeAssignableFrom<'unknown'>()
  })

  test('has one summary at its end', () => {
    expect<Parameters<NonNullable<StreamOptions['onStreamEnd']>>[0]>().type.toBe<StreamSummary>()
  })
})
