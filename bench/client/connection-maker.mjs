import { connectHttp2, H2Stream } from './h2-stream.mjs'
import { SseConnection } from './sse-connection.mjs'
import { WsConnection } from './ws-connection.mjs'

/**
 * @param {import('./connection.mjs').Load} load
 * @param {import('./meter.mjs').Meter} meter
 * @returns {() => import('./connection.mjs').Connection}
 */
export function connectionMaker (load, meter) {
  if (load.transport === 'ws') return () => new WsConnection(load, meter)
  if (load.transport === 'sse') return () => new SseConnection(load, meter)
  const session = connectHttp2(load.port)
  return () => new H2Stream(session, load, meter)
}
