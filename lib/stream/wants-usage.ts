import type { ResolvedStreamOptions } from '../options.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'

/** Whether a client of format `openai` or `ai-sdk` sees usage: by option `includeUsage`, else by its own request. */
export function wantsUsage ({ includeUsage }: ResolvedStreamOptions, request: ChatRequest | undefined): boolean {
  return includeUsage ?? request?.stream_options?.include_usage === true
}
