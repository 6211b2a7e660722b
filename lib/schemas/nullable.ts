import { Kind, Type, type TNull, type TSchema, type TString, type TUnion } from '@sinclair/typebox'

/**
 * `null` written as `const` and without `type`: Fastify's Ajv coerces types, and a `type: 'null'` branch
 * would turn `0`, `''` and `false` into `null`, a plain `type: 'number'` branch `null` into `0`.
 * @see https://ajv.js.org/coercion.html
 */
const JsonNull = { [Kind]: 'Null', const: null } as unknown as TNull

/**
 * A text for TypeBox; anything but an object for Fastify's Ajv, which would turn a list of one text into that text, or
 * a text into a list, under any `type` that it can coerce. `object` is none of those.
 */
export const Uncoerced = { [Kind]: 'String', not: { type: 'object' } } as unknown as TString

/**
 * A schema that also takes `null`, which OpenAI's clients send for fields they leave open.
 * `null` is tried first, so that no coercion touches it.
 * @param schema What the value is when it is not `null`.
 */
export function nullable<T extends TSchema> (schema: T): TUnion<[TNull, T]> {
  return Type.Union([JsonNull, schema])
}
