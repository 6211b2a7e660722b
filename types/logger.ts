/** The part of pino's logger that this package uses; `fastify.log` and `request.log` fit. */
export interface Logger {
  debug: LogFn
  info: LogFn
  warn: LogFn
  error: LogFn
}

/** Logs a message, with fields in front of it where there are some. */
export interface LogFn {
  (fields: object, message?: string): void
  (message: string): void
}
