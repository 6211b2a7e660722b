import t from 'tap'
import { AbortSource } from '../lib/abort-source.ts'
import { askAdapter, ownAdapter, type OwnContext } from '../lib/own-adapter.ts'
import type { AdapterContext, UpstreamAdapter } from '../types/adapter.ts'
import { createContext } from './upstream/helper.ts'

async function * nothing (): AsyncGenerator<never> {}

t.test('askAdapter() gives an adapter of this package what aborts, and the host\'s a signal of the same', (t) => {
  const source = new AbortSource()
  const context: OwnContext = { ...createContext(), signal: source }
  const seen: Array<OwnContext | AdapterContext> = []
  const own = ownAdapter((_request, context) => { seen.push(context); return nothing() })
  const hosts: UpstreamAdapter = (_request, context) => { seen.push(context); return nothing() }
  const wrapper: UpstreamAdapter = Object.assign(hosts.bind(null), own)

  for (const adapter of [own, hosts, wrapper]) askAdapter(adapter, {}, context)

  t.strictSame(seen.map(({ signal }) => signal), [source, source.signal, source.signal])
  t.strictSame(seen.map(({ log }) => log), [context.log, context.log, context.log])
  t.end()
})
