// The project's reference server, with its defaults.
import { build } from '../../examples/server.js'
import { apiKey, host, port, upstream } from './shared.mjs'

const app = await build({ UPSTREAM_BASE_URL: `${upstream}/v1`, UPSTREAM_API_KEY: apiKey, LOG_LEVEL: 'silent' })
await app.listen({ port, host })
