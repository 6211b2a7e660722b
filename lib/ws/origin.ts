import type { ResolvedSocketOptions } from '../options.ts'

/** How the server was asked, as far as the request tells: behind a proxy by what that says of it. */
export interface Asked {
  /** With its port. */
  readonly host: string
  readonly protocol: string
}

/** Ports that browsers leave out, and proxies may not. */
const defaultPorts: Readonly<Record<string, RegExp>> = { 'http:': /:80$/, 'https:': /:443$/ }

/**
 * Whether a page of this origin may connect: browsers let any page open a WebSocket anywhere, with the user's cookies.
 * @param origin The `Origin` header; absent for what is no browser.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-10.2
 */
export function isAllowedOrigin (origin: string | undefined, asked: Asked, allowed: ResolvedSocketOptions['origins']): boolean {
  if (origin === undefined || allowed === '*') return true
  if (allowed === 'same-origin') return isSameOrigin(origin.toLowerCase(), asked)
  return allowed.some((one) => one.toLowerCase() === origin.toLowerCase())
}

/**
 * `null`, which sandboxed pages send, is no host's. A page of `https:` may ask a server that speaks `http:`, for proxies
 * take the encryption off; the other way round it is another origin.
 */
function isSameOrigin (origin: string, { host, protocol }: Asked): boolean {
  const [, scheme = '', originHost] = /^(https?:)\/\/([^/]+)$/.exec(origin) ?? []
  if (originHost === undefined || (protocol === 'https' && scheme !== 'https:')) return false
  const port = defaultPorts[scheme] as RegExp
  return originHost.replace(port, '') === host.toLowerCase().replace(port, '')
}
