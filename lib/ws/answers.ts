/** Which kept streams answer a conversation now, for clients that know their conversation and no stream. */
export class Answers {
  readonly #streams = new Map<string, Set<string>>()

  /** @param name Of the conversation, with its owner: clients choose the names. */
  add (name: string, streamId: string): void {
    const streams = this.#streams.get(name)
    if (streams === undefined) this.#streams.set(name, new Set([streamId]))
    else streams.add(streamId)
  }

  /** Id of the stream that began last; `undefined` when nothing is being answered. */
  get (name: string): string | undefined {
    return [...this.#streams.get(name) ?? []].at(-1)
  }

  /** The stream has ended. */
  delete (name: string, streamId: string): void {
    const streams = this.#streams.get(name)
    if (streams?.delete(streamId) === true && streams.size === 0) this.#streams.delete(name)
  }
}
