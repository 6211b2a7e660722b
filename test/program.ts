import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** Folder of the repository. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** A program of ours in a process of its own. */
export interface Program {
  /** Where it listens, by what it prints: `http://127.0.0.1:49152`. */
  readonly address: Promise<string>
  /** Its exit code; a signal's name when that ended it. */
  readonly exited: Promise<number | string | null>
  /** What it printed so far. */
  readonly output: () => string
  /** Resolves with the match once its output has it; rejects when it exits without. */
  printed (pattern: RegExp): Promise<RegExpMatchArray>
  kill (signal: NodeJS.Signals): void
}

/** Longest life of a program, so that a test that fails leaves none behind. */
const LIFE_MS = 600_000

/**
 * Starts a file with Node, as a user does: without this test's loaders and environment.
 * @param args Arguments of node: the file first, or options before it.
 */
export function startProgram (t: Test, args: string[], env: Record<string, string> = {}): Program {
  const { PATH = '', HOME = '' } = process.env
  // tap puts its loader into NODE_OPTIONS of every child: without it, dist/ is not measured as if it were a test's subject.
  const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], {
    cwd: root, env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'], timeout: LIFE_MS, killSignal: 'SIGKILL'
  })
  t.teardown(() => { child.kill('SIGKILL') })
  return watch(child)
}

function watch (child: ChildProcess): Program {
  let output = ''
  const onData = (text: string): void => {
    output += text
    child.emit('output')
  }
  child.stdout?.setEncoding('utf8').on('data', onData)
  child.stderr?.setEncoding('utf8').on('data', onData)
  // 'close' and not 'exit': what it printed last has arrived by then.
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  const printed = (pattern: RegExp): Promise<RegExpMatchArray> => new Promise((resolve, reject) => {
    const look = (): void => {
      const match = pattern.exec(output)
      if (match === null) return
      child.off('output', look)
      resolve(match)
    }
    child.on('output', look)
    void exited.then((code) => { reject(new Error(`It ended with ${code} and never printed ${pattern}:\n${output}`)) })
    look()
  })
  const address = printed(/https?:\/\/(?:127\.0\.0\.1|localhost|\[::1\]):\d+/).then(([url]) => url)
  address.catch(() => {})
  return { address, exited, output: () => output, printed, kill: (signal) => { child.kill(signal) } }
}

/** Asks with POST and JSON. */
export function post (url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers as Record<string, string> },
    body: typeof body === 'string' ? body : JSON.stringify(body)
  })
}

/** Reads a response as far as a test wants. */
export class TextReader {
  readonly #reader: ReadableStreamDefaultReader<string>
  #text = ''

  constructor (response: Response) {
    this.#reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
  }

  /** All text so far, once it is as wanted. */
  async until (isEnough: (text: string) => boolean): Promise<string> {
    while (!isEnough(this.#text)) {
      const { done, value } = await this.#reader.read()
      if (done) throw new Error(`The response ended before it was as wanted:\n${this.#text}`)
      this.#text += value
    }
    return this.#text
  }

  /** Leaves, as a client that closes its connection. */
  leave (): Promise<void> {
    return this.#reader.cancel()
  }
}
