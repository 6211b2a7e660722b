import type { AdapterContext, UpstreamAdapter } from './adapter.ts'

/** What an upstream needs of an `AbortSignal`. A stream has something lighter that has this too. */
export interface Abortable {
  readonly aborted: boolean
  /** There is one once it has aborted. */
  readonly reason: unknown
  addEventListener (type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void
  removeEventListener (type: 'abort', listener: () => void): void
}

/** As {@link AdapterContext}, where what aborts need not be a signal. */
export interface UpstreamContext extends Omit<AdapterContext, 'signal'> {
  /** Aborts when nobody wants the answer any more. */
  readonly signal: Abortable
}

/** Who asks what. */
export interface Question {
  readonly request: Parameters<UpstreamAdapter>[0]
  readonly context: UpstreamContext
}

/** The upstream as streams ask it: each is an {@link UpstreamAdapter} too, but those of hosts need a signal. */
export interface Upstream {
  (request: Question['request'], context: UpstreamContext): ReturnType<UpstreamAdapter>
  /** As of the adapter. */
  close?: () => Promise<void>
}
