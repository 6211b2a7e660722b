import type { BinaryText } from '../../types/batch.ts'

/** Shorter secrets are words like `test`: taking them out would mangle answers, and they protect nothing. */
const MIN_LENGTH = 6

/** Request headers whose values are secrets, beside the key itself. */
const secretHeaders = /auth|cookie|credential|key|passw|secret|token/i

/**
 * Makes a function that takes our secrets out of a text, for whatever an upstream echoes.
 * @param apiKey The key of this request.
 * @param headers The host's own request headers; those that look like credentials are secret too.
 */
export function createRedact (apiKey: string | undefined, headers: Readonly<Record<string, string>>): (text: string) => string {
  const secrets = listSecrets(apiKey, headers)
  let escaped: RegExp[] | undefined
  return (text) => {
    const clean = secrets.reduce((clean, secret) => clean.includes(secret) ? clean.replaceAll(secret, '[redacted]') : clean, text)
    // Most answers have backslashes, of line breaks; few have the escapes that can hide a character of a key.
    if (!clean.includes('\\u00') && !clean.includes('\\/') && !clean.includes('%')) return clean
    escaped ??= secrets.map(escapedPattern)
    return escaped.reduce((clean, pattern) => clean.replace(pattern, '[redacted]'), clean)
  }
}

/**
 * Makes a function that tells whether insides of JSON strings, with quotes between them, have nothing that
 * {@link createRedact} would take out. Of a secret that has a quote itself, or is beyond ASCII, so that its bytes are
 * others than its characters, it cannot know.
 */
export function createIsClean (apiKey: string | undefined, headers: Readonly<Record<string, string>>): (texts: BinaryText) => boolean {
  const redact = createRedact(apiKey, headers)
  const isKnowable = listSecrets(apiKey, headers).every((secret) => /^[ !#-~]*$/.test(secret))
  return (texts) => isKnowable && redact(texts) === texts
}

function listSecrets (apiKey: string | undefined, headers: Readonly<Record<string, string>>): string[] {
  return [apiKey, ...secretValues(headers)]
    .filter((secret): secret is string => secret !== undefined && secret.length >= MIN_LENGTH)
    // A secret may be the beginning of another, whose rest would then be left.
    .sort((a, b) => b.length - a.length)
}

/**
 * Matches a secret of which some characters are escaped, as JSON and URLs may: PHP writes `\/` for `/`, any writer may
 * write `\u002f` or `%2f`. Backslashes are doubled in JSON inside JSON; their number is bounded to keep time linear.
 */
function escapedPattern (secret: string): RegExp {
  const characters = Array.from(secret, (character) => {
    const hex = character.charCodeAt(0).toString(16).padStart(2, '0')
    const plain = character === '/' ? '\\\\{0,8}/' : character.replace(/[\\^$.*+?()[\]{}|]/, '\\$&')
    return `(?:${plain}|\\\\{1,8}u00${hex}|%${hex})`
  })
  return new RegExp(characters.join(''), 'gi')
}

function secretValues (headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers)
    .filter(([name]) => secretHeaders.test(name))
    .map(([, value]) => value.replace(/^(bearer|basic)\s+/i, ''))
}
