/** What the upstream says, over and over. Letters of several bytes, escapes and lookalikes of framing: all must survive. */
const words = [
  'Streams', ' carry', ' text', ' piece', ' by', ' piece', ',', ' so', ' nobody', ' waits', '.', ' \u1ed0ng', ' d\u1eabn', ' \u6c34\u6d41',
  ' \u{1f30a}\u{1f469}\u200d\u{1f4bb}', ' \u00fcber', ' "said"', ' a\\b', '\n', '\n\n', '\ttab', ' data:', ' event: x', ' {"a":', '1}', ' </p>', ' 3.14',
  '\u2028', ' [DONE', ' ]', ' end', '.'
]

/** How many words there are before they repeat. */
export const WORD_COUNT = words.length

/**
 * @param {number} index of a token in its answer
 * @returns {string}
 */
export function wordAt (index) {
  return words[index % WORD_COUNT]
}

/**
 * @param {number} tokens
 * @returns {string} the text of an answer of so many tokens
 */
export function textOf (tokens) {
  return Array.from({ length: tokens }, (_, index) => wordAt(index)).join('')
}
