// Portkey's gateway, started as its own program does.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const { resolve } = createRequire(import.meta.url)
process.argv.push(`--port=${process.env.PORT}`, '--headless')
await import(pathToFileURL(resolve('@portkey-ai/gateway/build/start-server.js')).href)
