import type { ChatMessage, ChatRequest } from '../schemas/chat-request.ts'

/** A Chat Completions request as the embedded upstream received it. */
export type ChatBody = ChatRequest & { messages: ChatMessage[] }

/** One tool call that the upstream makes. */
export interface ScenarioToolCall {
  /** Name of the tool. */
  name: string
  /** Its arguments; a string is sent as it is, so that it may be broken JSON. */
  arguments: object | string
}

/**
 * How the upstream answers one request. Without any option it streams a readable answer to the prompt. Everything
 * that counts tokens counts deltas: one word of text or reasoning, the start of a tool call, or one piece of its
 * arguments. With `n` choices the tokens of each choice count.
 */
export interface Scenario {
  /**
   * What to answer, or a function of the request that says so. With a text, tools of the request are not called
   * unless `toolCalls` is set too.
   * @default a few sentences that quote the prompt, in English or Vietnamese as the prompt is
   */
  text?: string | ((request: ChatBody) => string)
  /**
   * Speed of a stream, in tokens per second; each token has its due time, so a stream does not drift. `0` sends as
   * fast as the client takes it. JSON answers are not paced.
   * @default 50
   */
  tokensPerSecond?: number
  /**
   * Length of the text, in tokens: it is cut or repeated to fit. `Infinity` never ends; a JSON answer then stops
   * after 4096 tokens with finish reason `length`.
   * @default the length of the text
   */
  tokens?: number
  /**
   * Reasoning sent before the answer as `reasoning_content`: a text, `true` for a default one, `false` for none.
   * @default true when the request has a `reasoning_effort` other than `none`
   */
  reasoning?: string | boolean
  /**
   * Tool calls to make: a list, `true` for one call of the first (or chosen) tool of the request with arguments made
   * from its JSON schema, `false` for none. When the last message is a tool's result, the answer is always a text.
   * @default true when the request has `tools`, its `tool_choice` is not `none`, and `text` is not set
   */
  toolCalls?: ScenarioToolCall[] | boolean
  /**
   * Usage: `true` sends the usage chunk even when it was not asked for, `false` never sends it, an object replaces
   * fields of the counted usage.
   * @default as `stream_options.include_usage` says; always in a JSON answer
   */
  usage?: boolean | Record<string, unknown>
  /**
   * Model name in the answer.
   * @default the name in the request, else `mock`
   */
  model?: string

  /**
   * Wait before the response headers, in milliseconds.
   * @default 0
   */
  delayMs?: number
  /**
   * Wait after the response headers, before the first event of a stream, in milliseconds.
   * @default 0
   */
  firstTokenDelayMs?: number

  /**
   * HTTP status. From 300 on, the answer is a JSON error in OpenAI's shape; `0` breaks the connection as `reset` does.
   * @default 200
   */
  status?: number
  /** Response headers, added to or in place of the usual ones. */
  headers?: Record<string, string>
  /** Response body in place of the answer or error: a string as it is, an object as JSON. */
  body?: string | object
  /** Value of `retry-after` on an HTTP failure: seconds or an HTTP date. */
  retryAfter?: number | string
  /**
   * This many requests fail with `status` (503 when that is not set, a broken connection when it is 0), later ones
   * answer. Failures are counted over the life of the upstream.
   * @default off: with `status`, all requests fail
   */
  failFirst?: number

  /**
   * Breaks the connection after so many tokens; `0` right after the headers. In this and the next four options, a
   * number larger than the answer means: after its last token, before the finish chunk. A JSON answer breaks in
   * the middle of its body.
   */
  cutAfter?: number
  /** Ends the HTTP body cleanly after so many tokens, without finish reason and `[DONE]`. */
  endAfter?: number
  /** Falls silent after so many tokens with the connection open; `0` sends the headers alone. */
  hangAfter?: number
  /** Sends {@link Scenario.errorFrame} after so many tokens, and ends. A JSON answer is the error, with status 200. */
  errorAfter?: number
  /**
   * JSON of the error frame: `{"error":{"message":"…","type":"server_error"}}`.
   * @default a `server_error` in OpenAI's shape
   */
  errorFrame?: object
  /** Sends a frame that is not JSON after so many tokens, and goes on. A JSON answer is an HTML page instead. */
  garbageAfter?: number
  /**
   * Takes the request and never answers, not even with headers.
   * @default false
   */
  silent?: boolean
  /**
   * Breaks the connection (TCP reset) instead of an answer.
   * @default false
   */
  reset?: boolean

  /**
   * Ends the stream with `data: [DONE]`.
   * @default true
   */
  done?: boolean
  /**
   * Keeps the response open after its last byte, until the client closes it.
   * @default false
   */
  keepOpen?: boolean
  /**
   * Sends a comment (`: keep-alive`) before the first event and after every fourth token.
   * @default false
   */
  comments?: boolean
  /**
   * Content type of the answer.
   * @default 'text/event-stream; charset=utf-8', for a JSON answer 'application/json'
   */
  contentType?: string
  /**
   * Line end of the stream.
   * @default '\n'
   */
  newline?: '\n' | '\r\n' | '\r'
  /**
   * Most bytes in one write of the body. Each is an HTTP chunk of its own and sent in its own turn of the event
   * loop, so the client sees exactly this split, inside UTF-8 characters and line ends too. `0` does not split.
   * @default 0
   */
  splitBytes?: number
  /**
   * Raw body in place of the answer; the parts of a list are written one by one, each counts as one token for
   * `cutAfter` and the like, and none is paced.
   */
  frames?: string | string[] | Uint8Array
  /**
   * Answers 400 when the request has `stream_options`, as some servers do.
   * @default false
   */
  refuseStreamOptions?: boolean
}

/** Tokens per second when the scenario does not say. */
export const DEFAULT_TOKENS_PER_SECOND = 50
