import t from 'tap'
import { sampleJson } from '../../lib/testing/json-schema-sample.ts'

t.test('sampleJson() makes the required properties by type', async (t) => {
  const value = sampleJson({
    type: 'object',
    properties: {
      title: { type: 'string' },
      city: { type: 'string' },
      days: { type: 'integer' },
      share: { type: 'number', maximum: 0.5 },
      open: { type: 'boolean' },
      tags: { type: 'array', items: { type: 'string' }, minItems: 2 },
      note: { type: 'null' },
      extra: { type: 'string' }
    },
    required: ['title', 'city', 'days', 'share', 'open', 'tags', 'note']
  })

  t.same(value, {
    title: 'example title', city: 'Hanoi', days: 1, share: 0.5, open: true, tags: ['example tags', 'example tags'], note: null
  })
})

t.test('sampleJson() makes all properties when none is said to be required', async (t) => {
  t.same(sampleJson({ properties: { a: { type: 'number', minimum: 7 }, b: {} } }), { a: 7, b: 'example b' })
  t.same(sampleJson({ type: 'object' }), {})
})

t.test('sampleJson() takes const, default, enum and examples as they are', async (t) => {
  t.equal(sampleJson({ const: 3 }), 3)
  t.equal(sampleJson({ default: 'x', type: 'string' }), 'x')
  t.equal(sampleJson({ enum: ['celsius', 'fahrenheit'] }), 'celsius')
  t.equal(sampleJson({ examples: ['first'] }), 'first')
  t.equal(sampleJson({ enum: [], type: 'boolean' }), true)
})

t.test('sampleJson() keeps the limits of strings and numbers', async (t) => {
  t.equal(sampleJson({ type: 'string', minLength: 10 }), 'example...')
  t.equal(sampleJson({ type: 'string', maxLength: 3 }), 'exa')
  t.equal(sampleJson({ type: 'string', format: 'email' }), 'person@example.com')
  t.equal(sampleJson({ type: 'integer', exclusiveMinimum: 4 }), 5)
  t.equal(sampleJson({ type: 'integer', exclusiveMaximum: 1 }), 0)
})

t.test('sampleJson() gives the prompt to properties that ask for one', async (t) => {
  const schema = { properties: { query: { type: 'string' } } }

  t.same(sampleJson(schema, 'rain in Hue'), { query: 'rain in Hue' })
  t.same(sampleJson(schema), { query: 'example query' })
})

t.test('sampleJson() follows references and takes the first alternative that is not null', async (t) => {
  t.equal(sampleJson({ anyOf: [{ type: 'null' }, { type: 'integer' }] }), 1)
  t.equal(sampleJson({ type: ['null', 'boolean'] }), true)
  t.equal(sampleJson({ $ref: '#/$defs/a~1b', $defs: { 'a/b': { const: 'found' } } }), 'found')
  t.equal(sampleJson({ $ref: '#/nowhere' }), 'example')
})

t.test('sampleJson() ends in a schema that contains itself', async (t) => {
  const node = { type: 'object', properties: { next: { $ref: '#' } } }

  t.match(JSON.stringify(sampleJson(node)), /^(\{"next":)+null\}+$/)
})

t.test('sampleJson() survives what is not a schema', async (t) => {
  t.equal(sampleJson(true), 'example')
  t.equal(sampleJson({ type: 'unheard-of' }), null)
})
