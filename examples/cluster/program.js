// A program that runs beside this one, and is started again when it ends by itself: what systemd or Kubernetes do.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** Pause before a program that ended is started again, and between two looks whether one is ready, in milliseconds. */
const RESTART_MS = 1_000
const LOOK_MS = 50

/** Longest start, and longest stop before it is killed: streams end within shutdownGraceMs, 5 s. */
const START_MS = 60_000
const STOP_MS = 30_000

/**
 * @typedef {object} ProgramSetup
 * @property {string} name What its lines begin with.
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string | undefined>} [env] Added to the environment.
 * @property {string} install What to install when the command is missing.
 * @property {() => Promise<boolean>} isReady Whether it answers.
 * @property {() => void} [onRestart] Called when it ended by itself, and is back.
 */

export class Program {
  #setup
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child
  /** @type {Promise<unknown>} */
  #exited = Promise.resolve()
  /** Whether it is to run: it was ready, and nobody has stopped it. */
  #isWanted = false

  /** @param {ProgramSetup} setup */
  constructor (setup) {
    this.#setup = setup
  }

  get name () {
    return this.#setup.name
  }

  get pid () {
    return this.#child?.pid
  }

  /** Starts it, and waits until it answers. */
  async start () {
    await this.#spawn()
    await this.#untilReady()
    this.#isWanted = true
  }

  /** Asks it to end, and waits until it has; does nothing where it does not run. */
  async stop () {
    this.#isWanted = false
    this.#child?.kill('SIGTERM')
    const killer = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_MS)
    await this.#exited
    clearTimeout(killer)
  }

  async #spawn () {
    const { name, command, args, env, install } = this.#setup
    // Debian has servers where only root's PATH looks. Groups of their own: Ctrl-C is for this program, which stops the
    // others in order.
    const PATH = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin`
    const child = spawn(command, args, { env: { ...process.env, ...env, PATH }, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    for (const input of [child.stdout, child.stderr]) createInterface({ input }).on('line', (line) => console.log(`${name} | ${line}`))
    const spawned = once(child, 'spawn')
    await spawned.catch((error) => {
      throw error.code === 'ENOENT' ? new Error(`${command} is missing: ${install}`) : error
    })
    this.#child = child
    this.#exited = once(child, 'exit').then(() => { this.#ended() })
  }

  async #untilReady () {
    const end = performance.now() + START_MS
    while (!await this.#setup.isReady().catch(() => false)) {
      if (this.#child === undefined) throw new Error(`${this.name} ended before it was ready`)
      if (performance.now() > end) throw new Error(`${this.name} is not ready after ${START_MS} ms`)
      await sleep(LOOK_MS)
    }
  }

  #ended () {
    this.#child = undefined
    if (this.#isWanted) this.#startAgain()
  }

  async #startAgain () {
    console.log(`${this.name} ended, and is started again`)
    await sleep(RESTART_MS)
    if (!this.#isWanted) return
    this.#isWanted = false
    await this.start().then(() => this.#setup.onRestart?.(), (error) => console.log(error.message))
  }
}
