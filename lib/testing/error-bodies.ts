/** Body of an OpenAI error: `{"error":{"message":"…","type":"invalid_request_error","param":null,"code":null}}`. */
export interface ErrorBody {
  error: { message: string, type: string, param: string | null, code: string | null }
}

/** Message, type and code by status. */
const BY_STATUS: Readonly<Record<number, readonly [message: string, type: string, code: string | null]>> = {
  400: ['The request is not valid.', 'invalid_request_error', null],
  401: ['Incorrect API key provided: %s. You can find your API key in your account settings.', 'invalid_request_error', 'invalid_api_key'],
  403: ['You are not allowed to use this model.', 'permission_error', 'access_denied'],
  404: ['The model `%s` does not exist or you do not have access to it.', 'invalid_request_error', 'model_not_found'],
  413: ['The request is too large.', 'invalid_request_error', 'request_too_large'],
  429: ['Rate limit reached for requests. Please try again later.', 'requests', 'rate_limit_exceeded'],
  500: ['The server had an error while processing your request. Sorry about that!', 'server_error', 'server_error'],
  503: ['The engine is currently overloaded, please try again later.', 'server_error', 'overloaded']
}

/** Makes the error of a status; `detail` is the API key of a 401 and the model of a 404. */
export function errorBody (status: number, detail = ''): ErrorBody {
  const [message, type, code] = BY_STATUS[status] ?? ownWords(status)
  return { error: { message: message.replace('%s', () => detail), type, param: null, code } }
}

/** Makes a 400 or the like with its own message. */
export function requestError (message: string, param: string | null = null, code: string | null = null): ErrorBody {
  return { error: { message, type: 'invalid_request_error', param, code } }
}

function ownWords (status: number): readonly [string, string, null] {
  return [`The request failed with status ${status}.`, status < 500 ? 'invalid_request_error' : 'server_error', null]
}
