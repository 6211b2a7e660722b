import { InvalidRequestError } from '../errors.ts'
import { isText, type JsonObject } from '../json.ts'

/** One part of a message's content, as the Chat Completions API knows it. */
export type ContentPart = JsonObject & { type: string }

/** Formats of sound that the API takes, by media type. */
const audioFormats: Readonly<Record<string, string>> = {
  'audio/wav': 'wav', 'audio/x-wav': 'wav', 'audio/wave': 'wav', 'audio/mp3': 'mp3', 'audio/mpeg': 'mp3'
}

/** `data:[type][;parameter]*[;base64],data`. @see https://www.rfc-editor.org/rfc/rfc2397#section-3 */
const dataUrl = /^data:[^,]*?(;base64)?,/i

/**
 * What a part of a user's UI message is for the Chat Completions API: a text, or a file; none for other parts.
 * @throws LLM_ERR_INVALID_REQUEST (400) for a file that the API has no place for.
 * @see https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
 */
export function toContentPart (part: JsonObject, field: string): ContentPart[] {
  if (part.type === 'file') return [toFilePart(part, field)]
  return part.type === 'text' && isText(part.text) ? [{ type: 'text', text: part.text }] : []
}

function toFilePart ({ mediaType, url, filename }: JsonObject, field: string): ContentPart {
  if (!isText(mediaType) || !isText(url)) throw new InvalidRequestError(field, 'a file without "mediaType" or "url"', 'both')
  const type = mediaType.toLowerCase().split(';', 1)[0]?.trim() as string
  const isData = dataUrl.test(url)
  if (type.startsWith('image') && (isData || /^https?:/i.test(url))) return { type: 'image_url', image_url: { url: withType(url, type) } }
  if (isData && Object.hasOwn(audioFormats, type)) return { type: 'input_audio', input_audio: { data: url.replace(dataUrl, ''), format: audioFormats[type] } }
  if (isData && type === 'application/pdf') return { type: 'file', file: { filename: isText(filename) ? filename : 'document.pdf', file_data: url } }
  if (isData && type.startsWith('text')) return { type: 'text', text: decodeText(url, field) }
  throw new InvalidRequestError(field, 'a file that the Chat Completions API has no place for', 'an image, or as a data: URL sound in WAV or MP3, a PDF or a text')
}

/** Some pages write a data: URL without a type, which is then said to be a text. */
function withType (url: string, type: string): string {
  return url.replace(/^data:(?=[;,])/i, `data:${type}`)
}

function decodeText (url: string, field: string): string {
  const [head = '', base64] = dataUrl.exec(url) as RegExpExecArray
  const data = url.slice(head.length)
  if (base64 !== undefined) return Buffer.from(data, 'base64').toString('utf8')
  try {
    return decodeURIComponent(data)
  } catch {
    throw new InvalidRequestError(field, 'a data: URL with a wrong escape', 'percent-encoded UTF-8')
  }
}
