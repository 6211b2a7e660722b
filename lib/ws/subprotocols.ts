/** Prefix of the subprotocol that carries a key: browsers can set no header on a WebSocket. */
const BEARER = 'bearer.'

/**
 * The subprotocols that a client offers, in its order.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4
 */
export function offeredProtocols (header: string | undefined): string[] {
  return (header ?? '').split(',').map((one) => one.trim()).filter((one) => one !== '')
}

/** Whether a subprotocol carries a key: it is never echoed. */
export function isBearer (protocol: string): boolean {
  return protocol.startsWith(BEARER)
}

/** The key in a `bearer.<base64url>` among the offered subprotocols; base64url, for `/`, `+` and `=` are illegal there. */
export function bearerOf (protocols: readonly string[]): string | undefined {
  const offered = protocols.find(isBearer)
  const key = Buffer.from(offered?.slice(BEARER.length) ?? '', 'base64url').toString('utf8')
  return key === '' ? undefined : key
}
