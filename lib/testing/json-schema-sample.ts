type JsonSchema = Record<string, unknown>

/** What a value is made from beside its schema. */
interface Place {
  /** Schema that `$ref` points into. */
  root: JsonSchema
  /** Name of the property, `''` at the top. */
  name: string
  /** What the user asked; the value of properties like `query`. */
  prompt: string
  depth: number
}

/** A schema may refer to itself; deeper than this the value is `null`. */
const MAX_DEPTH = 8

const BY_FORMAT: Readonly<Record<string, string>> = {
  date: '2025-01-31',
  'date-time': '2025-01-31T09:00:00Z',
  time: '09:00:00Z',
  email: 'person@example.com',
  uri: 'https://example.com/',
  uuid: '123e4567-e89b-42d3-a456-426614174000'
}

const BY_TYPE: Readonly<Record<string, (schema: JsonSchema, place: Place) => unknown>> = {
  object: sampleObject,
  array: sampleArray,
  string: sampleString,
  number: sampleNumber,
  integer: sampleNumber,
  boolean: () => true
}

/**
 * Makes a plausible value for a JSON schema: its `const`, `default`, first `enum` value or example, else a value by
 * type. Of an object the required properties are made (all when it does not say which), of a choice the first.
 * @param prompt becomes the value of properties named `query`, `question` and the like
 */
export function sampleJson (schema: unknown, prompt = ''): unknown {
  const root = asSchema(schema)
  return sample(root, { root, name: '', prompt, depth: 0 })
}

function sample (schema: JsonSchema, place: Place): unknown {
  if (place.depth > MAX_DEPTH) return null
  if ('const' in schema) return schema.const
  if ('default' in schema) return schema.default
  for (const list of [schema.enum, schema.examples]) {
    if (Array.isArray(list) && list.length > 0) return list[0]
  }
  const inner = findInner(schema, place.root)
  if (inner !== undefined) return sample(inner, { ...place, depth: place.depth + 1 })
  return BY_TYPE[findType(schema)]?.(schema, place) ?? null
}

/** The schema that this one refers to, or the first of its alternatives that is not null. */
function findInner (schema: JsonSchema, root: JsonSchema): JsonSchema | undefined {
  if (typeof schema.$ref === 'string') return resolvePointer(schema.$ref, root)
  const list = [schema.anyOf, schema.oneOf, schema.allOf].find(Array.isArray)
  return list?.map(asSchema).find((option) => option.type !== 'null')
}

/** @see https://www.rfc-editor.org/rfc/rfc6901 */
function resolvePointer (pointer: string, root: JsonSchema): JsonSchema {
  return pointer.split('/').slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((schema, key) => asSchema(schema[key]), root)
}

function findType (schema: JsonSchema): string {
  const type = Array.isArray(schema.type) ? schema.type.find((name) => name !== 'null') : schema.type
  return typeof type === 'string' ? type : 'properties' in schema ? 'object' : 'string'
}

function sampleObject (schema: JsonSchema, place: Place): JsonSchema {
  const properties = asSchema(schema.properties)
  const names = Array.isArray(schema.required) ? schema.required.map(String) : Object.keys(properties)
  return Object.fromEntries(names.map((name) =>
    [name, sample(asSchema(properties[name]), { ...place, name, depth: place.depth + 1 })]))
}

function sampleArray (schema: JsonSchema, place: Place): unknown[] {
  const length = Math.max(1, asNumber(schema.minItems, 1))
  const item = sample(asSchema(schema.items), { ...place, depth: place.depth + 1 })
  return Array.from({ length }, () => item)
}

function sampleString (schema: JsonSchema, place: Place): string {
  const text = BY_FORMAT[String(schema.format)] ?? textByName(place)
  return text.padEnd(asNumber(schema.minLength, 0), '.').slice(0, asNumber(schema.maxLength, Infinity))
}

function textByName ({ name, prompt }: Place): string {
  if (/^(?:query|question|prompt|input|text)$/i.test(name) && prompt !== '') return prompt
  if (/city|location|place/i.test(name)) return 'Hanoi'
  return `example ${name}`.trim()
}

function sampleNumber (schema: JsonSchema): number {
  const least = Math.max(asNumber(schema.minimum, 1), asNumber(schema.exclusiveMinimum, 0) + 1)
  return Math.min(least, asNumber(schema.maximum, Infinity), asNumber(schema.exclusiveMaximum, Infinity) - 1)
}

function asSchema (value: unknown): JsonSchema {
  return typeof value === 'object' && value !== null ? value as JsonSchema : {}
}

function asNumber (value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise
}
