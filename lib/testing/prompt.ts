import type { ChatMessage } from '../schemas/chat-request.ts'
import type { ChatBody } from './scenario.ts'

/** Reads the text of a message, from a string or from its text parts. */
export function textOf ({ content }: ChatMessage): string {
  if (!Array.isArray(content)) return content ?? ''
  return content.map((part) => String((part as { text?: unknown }).text ?? '')).join('')
}

/** Finds what the user said last; `''` when there is no user message. */
export function userPrompt (request: ChatBody): string {
  const message = request.messages.findLast(({ role }) => role === 'user')
  return message === undefined ? '' : textOf(message).trim()
}

/** Cuts a text for quoting, between characters. */
export function shorten (text: string, maxCharacters: number): string {
  const characters = Array.from(text)
  return characters.length > maxCharacters ? `${characters.slice(0, maxCharacters).join('')}…` : text
}

/** Tells Vietnamese by letters that no other common language has. */
export function isVietnamese (text: string): boolean {
  return /[ăđơư\u1EA0-\u1EF9]/i.test(text.normalize('NFC'))
}
