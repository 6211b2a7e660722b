// Figures of an app's streams for Prometheus, by prom-client. Names that begin with `gen_ai_` are those of OpenTelemetry.
// No label is a text that a client chooses: each would be a series of its own.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Seconds, as OpenTelemetry recommends them for GenAI. */
const buckets = Array.from({ length: 14 }, (_, power) => 0.01 * 2 ** power)

/**
 * Makes the figures of one app.
 * @param {() => import('fastify-llm-stream').Llm} llm Of the app; asked when the figures are.
 */
export function createMetrics (llm) {
  const registry = new Registry()
  const registers = [registry]
  const duration = new Histogram({ name: 'gen_ai_server_request_duration_seconds', help: 'Duration of streams', labelNames: ['transport', 'reason'], buckets, registers })
  const firstToken = new Histogram({ name: 'gen_ai_server_time_to_first_token_seconds', help: 'Time to the first token, of streams that had one', labelNames: ['transport'], buckets, registers })
  /**
   * @param {typeof Gauge | typeof Counter} Metric
   * @param {string} name
   * @param {string} help
   * @param {() => Readonly<Record<string, number>> | number} read A figure, or figures by the label's value.
   * @param {string} [label]
   */
  const add = (Metric, name, help, read, label) => new Metric({ name, help, labelNames: label === undefined ? [] : [label], registers, collect () { show(this, read(), label) } })

  add(Gauge, 'llm_streams_active', 'Open streams', () => llm().streams.stats().byTransport, 'transport')
  add(Gauge, 'llm_streams_detached', 'Open streams whose client has left', () => llm().streams.stats().detached)
  add(Gauge, 'llm_connections_active', 'Open connections', () => llm().health().connections)
  add(Counter, 'llm_streams_ended_total', 'Streams that have ended', () => llm().streams.stats().byEndReason, 'reason')
  add(Counter, 'llm_stream_bytes_total', 'Bytes written to clients by streams that have ended', () => llm().streams.stats().bytes)
  add(Counter, 'llm_tokens_total', 'Tokens of chats that have ended, estimates included', () => llm().streams.stats().tokens, 'type')

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    /** A hook for the plugin's options. @param {import('fastify-llm-stream').StreamSummary} summary */
    onStreamEnd ({ transport, reason, durationMs, timeToFirstTokenMs }) {
      duration.observe({ transport, reason }, durationMs / 1_000)
      if (timeToFirstTokenMs !== undefined) firstToken.observe({ transport }, timeToFirstTokenMs / 1_000)
    }
  }
}

/**
 * @param {Gauge | Counter} metric
 * @param {Readonly<Record<string, number>> | number} figures
 * @param {string} [label]
 */
function show (metric, figures, label) {
  metric.reset()
  if (typeof figures === 'number' || label === undefined) metric.inc({}, Number(figures))
  else for (const [value, figure] of Object.entries(figures)) metric.inc({ [label]: value }, figure)
}
