/**
 * @param {string} text
 * @returns {string} for the text of an element or its attributes
 */
export function escape (text) {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [content] markup
 * @returns {string}
 */
export function element (name, attributes, content) {
  const given = Object.entries(attributes).map(([key, value]) => ` ${key}="${escape(typeof value === 'number' ? String(Math.round(value * 10) / 10) : value)}"`).join('')
  return content === undefined ? `<${name}${given}/>` : `<${name}${given}>${content}</${name}>`
}

/**
 * @param {number} x
 * @param {number} y of the base line
 * @param {string} content
 * @param {Record<string, string | number>} [attributes]
 * @returns {string}
 */
export function text (x, y, content, attributes = {}) {
  return element('text', { x, y, ...attributes }, escape(content))
}
