import type { Exchange } from './write-stream.ts'

/** Answers with a JSON body, or with a string as it is. */
export function sendJson (exchange: Exchange, status: number, body: string | object, headers: Record<string, string> = {}): void {
  const { response, seen } = exchange
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  seen.bytesWritten = bytes.length
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': String(bytes.length), ...headers })
  response.end(bytes)
}
