/** Which kept stream answers a conversation now, for clients that know their conversation and no stream. */
export class Answers {
  readonly #streams = new Map<string, string>()

  /** @param name Of the conversation, with its owner: clients choose the names. */
  set (name: string, streamId: string): void {
    this.#streams.set(name, streamId)
  }

  /** Id of the stream; `undefined` when nothing is being answered. */
  get (name: string): string | undefined {
    return this.#streams.get(name)
  }

  /** The stream has ended; a later one may have taken its place. */
  delete (name: string, streamId: string): void {
    if (this.#streams.get(name) === streamId) this.#streams.delete(name)
  }
}
