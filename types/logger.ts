/** The part of pino's logger that this package uses; `fastify.log` and `request.log` fit. */
export interface Logger {
  debug: LogFn
  info: LogFn
  warn: LogFn
  error: LogFn
}

/** Logs an object with fields and a message. */
export type LogFn = (fields: object, message?: string) => void
