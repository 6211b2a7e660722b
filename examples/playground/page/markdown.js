import DOMPurify from 'dompurify'
import { Lexer, Marked, Tokenizer } from 'marked'
import { make } from './dom.js'

/** @typedef {import('marked').Token} Token */

/** Lists and quotations may stand within each other this deep; each level costs a part of the stack. */
const maxDepth = 12

/** How many characters of one paragraph, heading or cell are read as markup, and how many of these may be markup's own. */
const maxInlineChars = 5_000
const maxDelimiters = 500

/** How much is read as markup of what no blank line divides. */
const maxBlockChars = 20_000

/** What model text may become. No image, form, style or script; no class, id or event handler either. */
const allowed = {
  ALLOWED_TAGS: [
    'a', 'blockquote', 'br', 'code', 'del', 'em', 'h3', 'h4', 'hr', 'li', 'ol', 'p', 'pre', 'strong', 'table', 'tbody', 'td', 'th',
    'thead', 'tr', 'ul'
  ],
  ALLOWED_ATTR: ['align', 'href', 'start', 'title'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  // The expression would hold for numbers and for "center" too.
  ADD_URI_SAFE_ATTR: ['align', 'start'],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false
}

/** Knows how deep it is: what stands deeper than a person can follow is text. */
class ShallowTokenizer extends Tokenizer {
  #depth = 0

  /**
   * @override
   * @param {string} text
   */
  blockquote (text) {
    return this.#within(() => super.blockquote(text))
  }

  /**
   * @override
   * @param {string} text
   */
  list (text) {
    return this.#within(() => super.list(text))
  }

  /**
   * @template T
   * @param {() => T} read
   */
  #within (read) {
    if (this.#depth === maxDepth) return undefined
    this.#depth++
    try {
      return read()
    } finally {
      this.#depth--
    }
  }
}

/** Reads no markup where that would take long: the time grows with the square of the delimiters that match none. */
class BoundedLexer extends Lexer {
  /**
   * @override
   * @param {string} text
   * @param {Token[]} [tokens]
   */
  inlineTokens (text, tokens = []) {
    if (!isCostly(text)) return super.inlineTokens(text, tokens)
    tokens.push({ type: 'text', raw: text, text, escaped: false })
    return tokens
  }
}

/** @param {string} text */
function isCostly (text) {
  return text.length > maxInlineChars || text.replace(/[^*_~`[\]<>!\\&@]/g, '').length > maxDelimiters
}

const marked = new Marked({
  gfm: true,
  renderer: {
    // Markup that the model wrote is shown as it wrote it. DOMPurify sees only what marked made.
    html: ({ text }) => escape(text),
    // An image would be a request to a host of the model's choice: a person may follow its address instead.
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text === '' ? 'image' : `image: ${text}`)}</a>`,
    checkbox: ({ checked }) => checked ? '☑ ' : '☐ ',
    // Headings of an answer stand below the heading of its pane, whichever level the model begins with.
    // One whose text has not come yet would be announced as a heading without a name.
    heading ({ tokens, depth }) {
      if (tokens.length === 0) return ''
      const level = depth < 4 ? 3 : 4
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`
    }
  }
})

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.nodeName !== 'A') return
  node.setAttribute('target', '_blank')
  node.setAttribute('rel', 'noopener noreferrer nofollow')
})

/**
 * Cuts a text into blocks: paragraphs, lists, code and the like. Never throws: what cannot be cut is one block.
 * @param {string} text
 * @returns {Token[]} Their `raw` texts add up to the text.
 */
export function blocksOf (text) {
  const blocks = []
  let from = 0
  for (const [begin, end] of longParts(text)) {
    blocks.push(...lex(text.slice(from, begin)), { type: 'plain', raw: text.slice(begin, end) })
    from = end
  }
  return [...blocks, ...lex(text.slice(from))]
}

/** @param {string} text */
function lex (text) {
  try {
    return new BoundedLexer({ ...marked.defaults, tokenizer: new ShallowTokenizer() }).lex(text)
  } catch {
    return [{ type: 'plain', raw: text }]
  }
}

/**
 * Parts between blank lines that are too long.
 * @param {string} text
 */
function longParts (text) {
  const parts = /** @type {Array<[number, number]>} */ ([])
  for (let begin = 0, end = 0; end < text.length; begin = end + 2) {
    const at = text.indexOf('\n\n', begin)
    end = at === -1 ? text.length : at
    if (end - begin > maxBlockChars) parts.push([begin, end])
  }
  return parts
}

/**
 * Makes nodes of blocks, for a page that trusts none of them. Never throws: what cannot be rendered is shown as it is.
 * @param {Token[]} blocks
 * @returns {DocumentFragment}
 */
export function render (blocks) {
  const fragment = document.createDocumentFragment()
  for (const block of blocks) fragment.append(renderOne(block))
  return fragment
}

/** @param {Token} block */
function renderOne (block) {
  if (block.type === 'plain') return plain(block.raw)
  try {
    return DOMPurify.sanitize(marked.parser([block]), { ...allowed, RETURN_DOM_FRAGMENT: true })
  } catch {
    return plain(block.raw)
  }
}

/**
 * Shows a text as it was written.
 * @param {string} text
 */
export function plain (text) {
  return make('p', 'plain', text.trim())
}

/** @param {string} text */
function escape (text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
