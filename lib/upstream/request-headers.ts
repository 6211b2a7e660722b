/**
 * Headers of a request to an upstream, with names in lower case.
 * @param transport Those that its transport needs.
 * @param apiKey Sent as `authorization: Bearer …` where there is one.
 * @param own The host's, which win.
 */
export function requestHeaders (
  transport: Readonly<Record<string, string>>, apiKey: string | undefined, own: Readonly<Record<string, string>>
): Record<string, string> {
  return {
    ...transport,
    'user-agent': 'fastify-llm-stream',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    ...lowerCased(own)
  }
}

function lowerCased (headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
