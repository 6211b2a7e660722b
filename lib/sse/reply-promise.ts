/**
 * What `reply.sseStream()` returns. A handler that neither returns nor awaits it would turn a rejection into an
 * `unhandledRejection`, which ends the process; here it goes to `onForgotten` instead.
 */
export class ReplyPromise<T> extends Promise<T> {
  #followed = false

  /** Derived promises are plain ones. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  /**
   * @param promise What it settles with.
   * @param onForgotten Gets the error when nobody followed the promise by the time it rejected.
   */
  static of<T> (promise: Promise<T>, onForgotten: (error: unknown) => void): ReplyPromise<T> {
    const own = new ReplyPromise<T>((resolve, reject) => { promise.then(resolve, reject) })
    // Followed here, past the override below, so that it never counts as unhandled.
    super.prototype.then.call(own, undefined, (error: unknown) => {
      setImmediate(() => { if (!own.#followed) onForgotten(error) })
    })
    return own
  }

  override then<A = T, B = never> (
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null, onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    this.#followed = true
    return super.then(onFulfilled, onRejected)
  }
}
