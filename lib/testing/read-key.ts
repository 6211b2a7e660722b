/** Takes the key out of an `authorization` header. */
export function readKey (authorization = ''): string {
  return authorization.replace(/^Bearer /i, '')
}
