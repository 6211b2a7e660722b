import { fileURLToPath } from 'node:url'
import t from 'tap'
import { soon } from '../helper.ts'
import { PATIENCE_MS, spawnNode, startServer, watchProcess } from './helper.ts'

t.setTimeout(300_000)

const script = fileURLToPath(new URL('client-chats.js', import.meta.url))
const CHATS = 1_000
/** Code that is compiled later, and what the allocator rounds up; a leak of 1 KB a chat is 1 MiB. */
const MAX_GROWTH_MIB = 0.75

for (const transport of ['sse', 'websocket']) {
  t.test(`${CHATS} chats in a row leave nothing in their process, over ${transport}`, async (t) => {
    // Stopped answers take a moment to free their places.
    const server = await startServer(t, { LOG_LEVEL: 'error' })
    const child = spawnNode(['--expose-gc', script, server.url, String(CHATS), transport])
    const { lines, exited } = watchProcess(child)
    t.teardown(() => { child.kill('SIGKILL') })

    t.equal(await soon('the chats to end', exited, PATIENCE_MS * 2), 0, lines.join('\n'))
    const { before, after, ...rest } = JSON.parse(lines.at(-1) ?? '{}')

    t.ok(after - before < MAX_GROWTH_MIB, `heap ${before.toFixed(2)} -> ${after.toFixed(2)} MiB`)
    t.same(rest, { failed: CHATS / 5, listeners: 0, running: 0 })
    await server.idle()
  })
}
