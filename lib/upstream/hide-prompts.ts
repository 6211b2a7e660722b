import type { JsonObject } from '../json.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'

/** So many characters in a row that stand in the request too are a quotation, not a coincidence. */
const QUOTED_CHARACTERS = 16

/** Shorter prompts are words that an error may use by itself. */
const MIN_PROMPT_CHARACTERS = 6

/** So much of a conversation is compared, and in so many texts. */
const MAX_COMPARED_CHARACTERS = 256 * 1024
const MAX_COMPARED_TEXTS = 1_000

/**
 * Takes what the caller wrote out of an upstream's error text, which goes to logs: upstreams quote prompts.
 * @param text What the upstream said, of a few hundred characters.
 * @returns The text with `[…]` in place of each quotation.
 */
export function hidePrompts (text: string, request: ChatRequest): string {
  return promptsOf(request).reduce((clean, prompt) => hideOne(clean, prompt), text)
}

function hideOne (text: string, prompt: string): string {
  const width = Math.min(QUOTED_CHARACTERS, prompt.length)
  let clean = ''
  let position = 0
  while (position < text.length) {
    const end = quotationEnd(text, position, prompt, width)
    clean += end === position ? text[position] : '[…]'
    position = Math.max(end, position + 1)
  }
  return clean
}

/** Where the quotation ends that begins at `start`; `start` when there is none. */
function quotationEnd (text: string, start: number, prompt: string, width: number): number {
  let end = start + width
  if (end > text.length || !prompt.includes(text.slice(start, end))) return start
  while (end < text.length && prompt.includes(text.slice(start, end + 1))) end++
  return end
}

/** Fields of messages that name things of the API. */
const names: ReadonlySet<string> = new Set(['role', 'type', 'id', 'tool_call_id', 'name'])

/** Where an address begins to be somebody's own. */
const host = /^https?:\/\/[^/]*\//

/**
 * Texts of the request, each also as it stands inside JSON: that form first, it has quotations that the other breaks. Of
 * them all only the last part: that is what upstreams quote, and the time stays bounded.
 */
function promptsOf ({ messages = [], prompt, ...others }: ChatRequest): string[] {
  const texts = [...textsOf(prompt), ...carried((others as JsonObject).prediction), ...messages.toReversed().flatMap(textsOfMessage)]
  const compared = bounded([...new Set(texts)])
  return [...new Set(compared.flatMap((text) => [JSON.stringify(text).slice(1, -1), text]))]
}

/** As many of the texts as may be compared. */
function bounded (texts: readonly string[]): string[] {
  const kept: string[] = []
  let left = MAX_COMPARED_CHARACTERS
  for (const text of texts) {
    if (left <= 0 || kept.length >= MAX_COMPARED_TEXTS) break
    kept.push(text.slice(-left))
    left -= text.length
  }
  return kept
}

function textsOfMessage (message: { readonly content?: unknown }): string[] {
  return [...textsOf(message.content), ...carried(message)]
}

/** Whatever a message carries beside its texts: arguments of tool calls, addresses of images. */
function carried (value: unknown): string[] {
  return stringsIn(value).map((text) => text.replace(host, '').trim()).filter((text) => text.length >= QUOTED_CHARACTERS)
}

function stringsIn (value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => names.has(name) ? [] : stringsIn(inner))
}

/** Texts that somebody has written; shorter ones are words that an error may use by itself. */
function textsOf (content: unknown): string[] {
  if (typeof content === 'string') return content.trim().length >= MIN_PROMPT_CHARACTERS ? [content.trim()] : []
  if (!Array.isArray(content)) return []
  return content.flatMap((part: { text?: unknown } | null) => textsOf(part?.text))
}
