/** Ids are ours and short: a longer one was not sent by us. */
const MAX_LENGTH = 1_024

/**
 * The `Last-Event-ID` of a client that reconnects. Untrusted: it is whatever the client says.
 * @param header As Node gives it: the bytes read as Latin-1, although clients send UTF-8.
 * @returns The id, or `null` when there is none, it is too long or has control characters.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
 */
export function readLastEventId (header: string | string[] | undefined): string | null {
  if (typeof header !== 'string' || header === '' || header.length > MAX_LENGTH) return null
  const id = Buffer.from(header, 'latin1').toString('utf8')
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u001f\u007f\ufffd]/.test(id) ? null : id
}
