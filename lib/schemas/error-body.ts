import { Type, type Static } from '@sinclair/typebox'

/**
 * Body of an HTTP error, and the data of an error frame in `openai` format:
 * `{"error":{"message":"…","type":"server_error","param":null,"code":"upstream-truncated"}}`.
 * @see https://platform.openai.com/docs/guides/error-codes
 */
export const OpenAiErrorBody = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.String({ description: 'invalid_request_error, rate_limit_error, timeout_error or server_error' }),
    param: Type.Union([Type.String(), Type.Null()]),
    code: Type.Union([Type.String(), Type.Null()])
  })
})
/** Static type of {@link OpenAiErrorBody}. */
export type OpenAiErrorBody = Static<typeof OpenAiErrorBody>
