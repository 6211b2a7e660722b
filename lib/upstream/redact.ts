import type { BinaryText } from '../../types/batch.ts'

/** Shorter secrets are words like `test`: taking them out would mangle answers, and they protect nothing. */
const MIN_LENGTH = 6

/** Request headers whose values are secrets, beside the key itself. */
const secretHeaders = /auth|cookie|credential|key|passw|secret|token/i

/** Keeps our secrets out of whatever an upstream echoes. */
export interface Redactor {
  /** Takes the secrets out of a text. */
  readonly redact: (text: string) => string
  /**
   * Whether the inside of a JSON string has nothing that `redact` would take out. Of a secret that has a quote or a
   * backslash itself, or is beyond ASCII, so that its bytes are others than its characters, it cannot know, and says no.
   */
  readonly isClean: (text: BinaryText) => boolean
  /** Texts with fewer bytes hold no secret: a secret is never shorter for being escaped. `Infinity` where there is none. */
  readonly shortestSecret: number
}

/**
 * Makes the redactors of one upstream. Most requests have the same key: they share one.
 * @param headers The host's own request headers; those that look like credentials are secret too.
 */
export function createRedactors (headers: Readonly<Record<string, string>>): (apiKey: string | undefined) => Redactor {
  const ofHeaders = secretValues(headers)
  let last: { readonly apiKey: string | undefined, readonly redactor: Redactor } | undefined
  return (apiKey) => {
    if (last === undefined || last.apiKey !== apiKey) last = { apiKey, redactor: createRedactor([apiKey, ...ofHeaders]) }
    return last.redactor
  }
}

function createRedactor (values: ReadonlyArray<string | undefined>): Redactor {
  const secrets = listSecrets(values)
  const redact = createRedact(secrets)
  const isKnowable = secrets.every((secret) => /^[ !#-[\]-~]*$/.test(secret))
  if (!isKnowable) return { redact, isClean: () => false, shortestSecret: 0 }
  return { redact, isClean: (text) => redact(text) === text, shortestSecret: Math.min(...secrets.map(({ length }) => length)) }
}

function createRedact (secrets: readonly string[]): Redactor['redact'] {
  const isEscaped = secrets.some((secret) => secret.includes('\\'))
  let escaped: RegExp[] | undefined
  return (text) => {
    const clean = secrets.reduce((clean, secret) => clean.includes(secret) ? clean.replaceAll(secret, '[redacted]') : clean, text)
    // Most answers have backslashes, of line breaks; few have the escapes that can hide a character of a key.
    if (!isEscaped && !clean.includes('\\u00') && !clean.includes('\\/') && !clean.includes('%')) return clean
    escaped ??= secrets.map(escapedPattern)
    return escaped.reduce((clean, pattern) => clean.replace(pattern, '[redacted]'), clean)
  }
}

function listSecrets (values: ReadonlyArray<string | undefined>): string[] {
  return values
    .filter((secret): secret is string => secret !== undefined && secret.length >= MIN_LENGTH)
    // A secret may be the beginning of another, whose rest would then be left.
    .sort((a, b) => b.length - a.length)
}

/** JSON writes a backslash twice, and may write one before a slash. */
const plainPatterns: Readonly<Record<string, string>> = { '/': '\\\\{0,8}/', '\\': '\\\\{1,8}' }

/**
 * Matches a secret of which some characters are escaped, as JSON and URLs may: PHP writes `\/` for `/`, any writer may
 * write `\u002f` or `%2f`. Backslashes are doubled in JSON inside JSON; their number is bounded to keep time linear.
 */
function escapedPattern (secret: string): RegExp {
  const characters = Array.from(secret, (character) => {
    const hex = character.charCodeAt(0).toString(16).padStart(2, '0')
    const plain = plainPatterns[character] ?? character.replace(/[\\^$.*+?()[\]{}|]/, '\\$&')
    return `(?:${plain}|\\\\{1,8}u00${hex}|%${hex})`
  })
  return new RegExp(characters.join(''), 'gi')
}

function secretValues (headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers)
    .filter(([name]) => secretHeaders.test(name))
    .map(([, value]) => value.replace(/^(bearer|basic)\s+/i, ''))
}
