import DOMPurify from 'dompurify'
import { Marked } from 'marked'

/** @typedef {import('marked').Token} Token */

/** What model text may become. No image, form, style or script; no class, id or event handler either. */
const allowed = {
  ALLOWED_TAGS: [
    'a', 'blockquote', 'br', 'code', 'del', 'em', 'h3', 'h4', 'hr', 'li', 'ol', 'p', 'pre', 'strong', 'table', 'tbody', 'td', 'th',
    'thead', 'tr', 'ul'
  ],
  ALLOWED_ATTR: ['align', 'href', 'start', 'title'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false
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
    heading ({ tokens, depth }) {
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
 * Cuts a text into blocks: paragraphs, lists, code and the like.
 * @param {string} text
 * @returns {Token[]} Their `raw` texts add up to the text.
 */
export function blocksOf (text) {
  return marked.lexer(text)
}

/**
 * Makes nodes of blocks, for a page that trusts none of them.
 * @param {Token[]} blocks
 * @returns {DocumentFragment}
 */
export function render (blocks) {
  return DOMPurify.sanitize(marked.parser(blocks), { ...allowed, RETURN_DOM_FRAGMENT: true })
}

/** @param {string} text */
function escape (text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
