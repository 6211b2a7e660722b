import type { ResolvedSocketOptions } from '../options.ts'

/**
 * Whether a page of this origin may connect: browsers let any page open a WebSocket anywhere, with the user's cookies.
 * @param origin The `Origin` header; absent for what is no browser.
 * @param host The host that was asked, with its port.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-10.2
 */
export function isAllowedOrigin (origin: string | undefined, host: string, allowed: ResolvedSocketOptions['origins']): boolean {
  if (origin === undefined || allowed === '*') return true
  if (allowed === 'same-origin') return hostOf(origin) === host.toLowerCase()
  return allowed.some((one) => one.toLowerCase() === origin.toLowerCase())
}

/** `null`, which sandboxed pages send, has none. */
function hostOf (origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase()
}
