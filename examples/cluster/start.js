// Two instances of the reference server, Redis, and a balancer before them, on one machine:
//
//   node examples/cluster/start.js
//
// The balancer listens on PORT, the instances on the two ports behind it, Redis on the third. SIGHUP restarts the instances
// one after the other, as a deploy does; SIGTERM and SIGINT stop everything. What ends by itself is started again.
//
// Env: HOST (127.0.0.1) and PORT (3000) of the balancer, REDIS_URL (unset: a Redis of its own), LOG_LEVEL (warn), and
// UPSTREAM_BASE_URL, UPSTREAM_API_KEY, UPSTREAM_DIALECT as of examples/server.js. Without an upstream each instance has its
// own inside.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bringBack, drain } from './balancer.js'
import { Program } from './program.js'

const host = process.env.HOST ?? '127.0.0.1'
const port = Number(process.env.PORT ?? 3000)
const address = `http://${host}:${port}`
const [portOfA, portOfB, portOfRedis] = [port + 1, port + 2, port + 3]
const ownRedisUrl = `redis://127.0.0.1:${portOfRedis}`
const redisUrl = process.env.REDIS_URL ?? ownRedisUrl

const folder = await mkdtemp(join(tmpdir(), 'llm-cluster-'))
const socket = join(folder, 'balancer.sock')

const redis = new Program({
  name: 'redis',
  command: 'redis-server',
  // Nothing on disk: what is kept is of interest for minutes.
  args: ['--port', `${portOfRedis}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
  install: 'apt-get install redis-server, or brew install redis; or set REDIS_URL',
  isReady: () => connects(portOfRedis),
  onRestart: () => tellBack(redis, ownRedisUrl)
})

const instances = [createInstance('a', portOfA), createInstance('b', portOfB)]

const balancer = new Program({
  name: 'balancer',
  command: 'haproxy',
  args: ['-db', '-f', fileURLToPath(new URL('haproxy.cfg', import.meta.url))],
  env: {
    BALANCER: `${host}:${port}`,
    INSTANCE_A: `127.0.0.1:${portOfA}`,
    INSTANCE_B: `127.0.0.1:${portOfB}`,
    BALANCER_SOCKET: socket
  },
  install: 'apt-get install haproxy, or brew install haproxy',
  isReady: () => answers(address)
})

/** In the order in which they are started; they are stopped the other way round, with the instances first. */
const programs = [...process.env.REDIS_URL === undefined ? [redis] : [], ...instances, balancer]

/**
 * @param {string} name
 * @param {number} port
 */
function createInstance (name, port) {
  const url = `http://127.0.0.1:${port}`
  const instance = new Program({
    name,
    command: process.execPath,
    args: [fileURLToPath(new URL('../server.js', import.meta.url))],
    env: { HOST: '127.0.0.1', PORT: `${port}`, REDIS_URL: redisUrl, LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn' },
    install: 'Node.js',
    isReady: () => answers(url),
    onRestart: () => tellBack(instance, url)
  })
  return instance
}

/**
 * @param {Program} instance
 * @param {string} url
 */
function tellBack ({ name, pid }, url) {
  console.log(`${name} is back: ${url}, pid ${pid}`)
}

/** @param {string} url */
async function answers (url) {
  const response = await fetch(`${url}/health`)
  await response.text()
  return response.ok
}

/** @param {number} port */
async function connects (port) {
  const connection = connect(port, '127.0.0.1')
  await once(connection, 'connect')
  connection.destroy()
  return true
}

/** A deploy: out of the balancer, streams end, a new process, back in; only then the next. */
async function restartAll () {
  for (const [index, instance] of instances.entries()) {
    await drain(socket, instance.name)
    await instance.stop()
    await instance.start()
    await bringBack(socket, instance.name)
    tellBack(instance, `http://127.0.0.1:${port + 1 + index}`)
  }
  console.log('all instances are restarted')
}

/** Clients are told how their streams end, so what carries that ends later. */
async function stopAll () {
  await Promise.all(instances.map((instance) => instance.stop()))
  await balancer.stop()
  await redis.stop()
  await rm(folder, { recursive: true, force: true })
}

function tell () {
  const [a, b] = instances
  const chat = '-H \'content-type: application/json\' -d \'{"model":"mock-slow","prompt":"Hello"}\''
  console.log(`
The cluster answers at ${address}
  a        http://127.0.0.1:${portOfA}, pid ${a?.pid}
  b        http://127.0.0.1:${portOfB}, pid ${b?.pid}
  redis    ${redisUrl}${redis.pid === undefined ? '' : `, pid ${redis.pid}`}
  balancer pid ${balancer.pid}

Start on a, follow on b, stop from anywhere; the id is the streamId of the first event:
  curl -N http://127.0.0.1:${portOfA}/api/events ${chat}
  curl -N 'http://127.0.0.1:${portOfB}/api/streams/ID?after=0'
  curl -X DELETE ${address}/api/streams/ID

Restart the instances one after the other: kill -HUP ${process.pid}`)
}

async function main () {
  let restarting = Promise.resolve()
  /** @type {Promise<void> | undefined} */
  let stopping
  /** @param {number} code */
  const end = (code) => { stopping ??= stopAll().then(() => process.exit(code)) }
  // Before anything runs: whoever sees a line may stop it.
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => end(0))
  try {
    for (const program of programs) await program.start()
    process.on('SIGHUP', () => { restarting = restarting.then(restartAll).catch((error) => console.log(String(error))) })
    tell()
  } catch (error) {
    if (stopping === undefined) console.log(/** @type {Error} */ (error).message)
    end(1)
  }
}

await main()
