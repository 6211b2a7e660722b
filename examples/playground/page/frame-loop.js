/** Calls a function once a frame, while there is something to show. */
export class FrameLoop {
  #draw
  #frame = 0
  #drawnAt = -Infinity
  #calm = matchMedia('(prefers-reduced-motion: reduce)')

  /** @param {(isLast: boolean) => void} draw */
  constructor (draw) {
    this.#draw = draw
  }

  /** Begins; does nothing while it runs. */
  start () {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#tick(now))
  }

  /** Ends, with one last call. */
  stop () {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    this.#draw(true)
  }

  /** @param {number} now */
  #tick (now) {
    this.#frame = requestAnimationFrame((next) => this.#tick(next))
    // Nobody needs more than thirty pictures a second of a plot; who wants little motion gets one.
    if (now - this.#drawnAt < (this.#calm.matches ? 1_000 : 30)) return
    this.#drawnAt = now
    this.#draw(false)
  }
}
