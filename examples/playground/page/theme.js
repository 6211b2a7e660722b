/** Where the choice is kept. */
const key = 'playground-theme'

/**
 * Lets a button choose between light and dark. Without a choice the system's holds.
 * @param {HTMLButtonElement} button
 */
export function themeButton (button) {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const show = () => {
    const isDark = (document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light')) === 'dark'
    button.textContent = isDark ? 'Light theme' : 'Dark theme'
    return isDark
  }
  const kept = read()
  if (kept === 'dark' || kept === 'light') document.documentElement.dataset.theme = kept
  button.addEventListener('click', () => {
    const theme = show() ? 'light' : 'dark'
    document.documentElement.dataset.theme = theme
    keep(theme)
    show()
  })
  dark.addEventListener('change', show)
  show()
}

/** A browser may forbid a page to keep anything. */
function read () {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

/** @param {string} theme */
function keep (theme) {
  try {
    localStorage.setItem(key, theme)
  } catch {
    // Then it holds until the page is left.
  }
}
