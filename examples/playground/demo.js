// What the embedded upstream shows in the playground: an answer that is worth watching, and failures on demand.

/** The model that the playground asks at first. */
export const demoModel = 'mock-markdown'

/** @type {readonly import('./routes.js').Example[]} */
export const examples = [
  { label: 'Formatted', model: demoModel, prompt: 'How does a streamed answer reach my screen?' },
  { label: 'Short', model: 'gpt-4.1', prompt: 'Why do people stream the answers of language models?' },
  { label: 'Reasoning first', model: 'mock-reasoning', prompt: 'Think first, then answer.' },
  { label: 'Slow', model: 'mock-slow', prompt: 'Take your time.' },
  { label: 'Never ends', model: 'mock-endless', prompt: 'Tell me a story without an end.' },
  { label: 'Breaks off', model: 'mock-cut', prompt: 'What happens when the provider breaks off?' },
  { label: 'Rate limit', model: 'mock-status-429', prompt: 'What happens at the rate limit?' },
  { label: 'Wrong key', model: 'mock-status-401', prompt: 'What happens with a wrong key?' },
  { label: 'Unknown model', model: 'no-such-model', prompt: 'What happens when there is no such model?' }
]

/**
 * The scenario of the demo's model; others are left to the upstream.
 * @param {{ model?: unknown, messages: ReadonlyArray<{ content?: unknown }> }} request
 */
export function demoScenario ({ model, messages }) {
  if (model !== demoModel) return undefined
  const question = messages.at(-1)?.content
  return { text: answer(typeof question === 'string' ? question.trim().slice(0, 200) : '') }
}

/** @param {string} question */
function answer (question) {
  const quote = question.replace(/\s+/g, ' ')
  return `You asked: "${quote}"

### From the model to your eyes

A language model writes one **token** at a time, a word or a part of one. Nothing forces you to wait for the last:

1. The server asks the model once, and keeps that *one* request open.
2. Each token is sent on **the moment it is there**.
3. Your browser puts it into the page, and this list grows while you read it.

### Two ways to send it

| What | SSE | WebSocket |
|---|---|---|
| Connection | one for each answer | one for many answers |
| To stop | close the request | send \`cancel\` |
| Speaks | plain HTTP | its own frames |

Both panes show the same answer, and both lines below are measured **here, in your browser**. The code is short:

\`\`\`js
const answer = streamChat('/api/events', { prompt: 'Hello' })
for await (const event of answer) {
  if (event.type === 'text-delta') show(event.text)
}
\`\`\`

> Press *Stop*: the server stops the model too, within milliseconds, and nobody pays for words that no one reads.
> Press *Cut the connection*: it comes back by itself, and the answer goes on where it was cut.

This one *is* whole, and it ends here.`
}
