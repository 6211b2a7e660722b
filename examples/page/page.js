// @ts-nocheck -- runs in the browser, without its types here
const form = document.querySelector('#form')
const prompt = document.querySelector('#prompt')
const model = document.querySelector('#model')
const send = document.querySelector('#send')
const stop = document.querySelector('#stop')
const status = document.querySelector('#status')
const answer = document.querySelector('#answer')

let controller

form.addEventListener('submit', (event) => {
  event.preventDefault()
  ask(prompt.value)
})
prompt.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey) return
  event.preventDefault()
  form.requestSubmit()
})
stop.addEventListener('click', () => controller.abort())

async function ask (text) {
  controller?.abort()
  const own = controller = new AbortController()
  answer.textContent = ''
  setBusy(true)
  const startedAt = performance.now()
  let tokens = 0
  try {
    for await (const event of events(text, own.signal)) {
      if (event.type === 'text-delta') {
        if (tokens++ === 0) show(`First token after ${Math.round(performance.now() - startedAt)} ms…`)
        answer.append(event.text)
      }
      if (event.type === 'usage') show(`${event.outputTokens} tokens in ${Math.round(performance.now() - startedAt)} ms.`)
      if (event.type === 'error') show(`Failed: ${event.error.message}`, true)
    }
  } catch (error) {
    show(own.signal.aborted ? `Stopped after ${tokens} tokens.` : `Failed: ${error.message}`, !own.signal.aborted)
  } finally {
    if (own === controller) setBusy(false)
  }
}

/** The events of one answer. A frame may come in several pieces, so it is cut at its blank line and nowhere else. */
async function * events (text, signal) {
  const response = await fetch('/api/events', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: text, model: model.value }),
    signal
  })
  if (!response.ok) throw new Error((await response.json()).error.message)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ''
  let ended = false
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    const frames = (buffer + value).split('\n\n')
    buffer = frames.pop()
    for (const frame of frames) {
      const data = frame.split('\n').find((line) => line.startsWith('data: '))
      if (data === undefined) continue
      const event = JSON.parse(data.slice(6))
      ended ||= event.type === 'end' || event.type === 'error'
      yield event
    }
  }
  if (!ended) throw new Error('the connection was cut before the answer was whole')
}

function setBusy (busy) {
  send.disabled = busy
  stop.disabled = !busy
  if (busy) show('Waiting for the first token…')
}

function show (message, failed = false) {
  status.textContent = message
  status.classList.toggle('failed', failed)
}
