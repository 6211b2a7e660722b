import type { Test } from 'tap'

/** With the characters of base64, which JSON and URLs may write in several ways. */
export const key = 'sk-LEAK/7f3a+19c0/d5e2b8a4c6f1/QzXw=='

/** So many characters of the key in a row are a leak: whoever cuts a text must not cut the key in two before it is found. */
const PART = 10

/** What a text shows of the key, whole or in part, and however it is escaped. */
export function leakOf (text: string): string | undefined {
  const spellings = [text, text.replaceAll('\\/', '/'), decode(text), text.replace(/\\u([0-9a-f]{4})/gi, (_match, hex) => String.fromCharCode(parseInt(hex, 16)))]
  for (let start = 0; start + PART <= key.length; start++) {
    const part = key.slice(start, start + PART)
    const found = spellings.find((spelling) => spelling.includes(part))
    if (found !== undefined) return found.slice(Math.max(0, found.indexOf(part) - 100), found.indexOf(part) + 100)
  }
  return undefined
}

function decode (text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_match, hex) => String.fromCharCode(parseInt(hex, 16)))
}

/** Fails when a text shows the key. */
export function noLeak (t: Test, text: string, where: string): void {
  t.equal(leakOf(text), undefined, where)
}
