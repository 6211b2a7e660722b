// Puts the page together: one form, two panes, three figures.
import { Announcer } from './announcer.js'
import { Charts } from './charts.js'
import { Composer } from './composer.js'
import { find, write } from './dom.js'
import { FrameLoop } from './frame-loop.js'
import { Pane } from './pane.js'
import { themeButton } from './theme.js'
import { cutConnections, sse, webSocket } from './transports.js'

const announcer = new Announcer(find(document, '#announcements', HTMLElement))
const announce = (/** @type {string} */ message) => announcer.say(message)
const composer = new Composer({ onAsk: ask, onStop: stop })
const charts = new Charts(document)
const panes = { sse: makePane(sse), ws: makePane(webSocket) }
const loop = new FrameLoop(refresh)

themeButton(find(document, '#theme', HTMLButtonElement))
find(document, '#cut', HTMLButtonElement).addEventListener('click', cut)
find(document, '#prompt', HTMLTextAreaElement).focus()
refresh(true)

/** @param {import('./transports.js').Transport} transport */
function makePane (transport) {
  const fragment = find(document, '#pane-template', HTMLTemplateElement).content.cloneNode(true)
  const root = find(/** @type {DocumentFragment} */ (fragment), '.pane', HTMLElement)
  const title = find(root, 'h2', HTMLElement)
  root.dataset.series = transport.name
  root.setAttribute('aria-labelledby', title.id = `${transport.name}-title`)
  title.textContent = transport.title
  find(root, '.route', HTMLElement).textContent = transport.route
  find(root, '.answer', HTMLElement).setAttribute('aria-label', `Answer, ${transport.title}`)
  find(root, '.wire ol', HTMLElement).setAttribute('aria-label', `Frames, ${transport.title}`)
  find(document, '#panes', HTMLElement).append(root)
  return new Pane(root, transport, { announce, onChange, onAskAgain: () => composer.askAgain() })
}

/** @param {import('fastify-llm-stream/client').ClientChatRequest} request */
function ask (request) {
  tellCut('')
  announce('Asked. Both answers are on their way.')
  panes.sse.ask(request)
  panes.ws.ask(request)
  showPanes()
}

/** On a small screen the form is all that one sees: what grows should be seen, and how it ends. */
function showPanes () {
  const element = find(document, '#panes', HTMLElement)
  const bottom = find(element, '.outcome', HTMLElement).getBoundingClientRect().bottom
  if (bottom <= innerHeight) return
  const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches
  element.scrollIntoView({ block: 'start', behavior: isCalm ? 'auto' : 'smooth' })
}

function stop () {
  panes.sse.stop()
  panes.ws.stop()
}

function onChange () {
  const isBusy = panes.sse.isBusy || panes.ws.isBusy
  composer.setBusy(isBusy)
  if (isBusy) loop.start()
  else loop.stop()
}

/** @param {boolean} isLast */
function refresh (isLast) {
  panes.sse.refresh()
  panes.ws.refresh()
  charts.draw({ sse: panes.sse.measurement, ws: panes.ws.measurement }, isLast)
}

async function cut () {
  try {
    const count = await cutConnections()
    tellCut(count === 0 ? 'There is no connection to cut.' : `The server cut ${count === 1 ? 'one connection' : `${count} connections`}.`)
  } catch {
    tellCut('The server cannot be reached.')
  }
}

/** @param {string} message */
function tellCut (message) {
  for (const element of document.querySelectorAll('.cut-result')) write(element, message)
  if (message !== '') announce(message)
}
