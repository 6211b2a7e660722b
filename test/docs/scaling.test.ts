import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { createUpstream } from '../../lib/testing/index.ts'
import { soon } from '../helper.ts'
import { startCluster } from '../interop/cluster.ts'
import { PATIENCE_MS, requireFile } from '../interop/helper.ts'
import { blocksOf } from '../plugin/resume-helper.ts'
import { TextReader, post, root, startProgram, type Program } from '../program.ts'
import { startRedis } from '../redis/helper.ts'
import { readBlocks, readPage, type Block } from './markdown.ts'

t.setTimeout(300_000)

const run = promisify(execFile)
const blocks = readBlocks('docs/scaling.md')
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

// Inside the repository, so that programs that import the package by its name get what was built of it.
const folder = mkdtempSync(`${root}test/docs/.tmp-`)
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const upstream = await createUpstream({ tokensPerSecond: 50 })
t.teardown(() => upstream.close())
const redis = await startRedis(t)
const env = { LLM_BASE_URL: upstream.baseUrl, LLM_API_KEY: 'sk-of-scaling', REDIS_URL: `redis://127.0.0.1:${redis.port}`, PORT: '0' }

/** Blocks of a kind, by heading in order. */
function codesOf (kind: string, heading: string): string[] {
  return blocks.filter((block) => block.kind === kind && block.heading === heading).map(({ code }) => code)
}

function write (name: string, code: string): string {
  const file = `${folder}/${name}`
  writeFileSync(file, `${code}\n`)
  return file
}

const server = write('server.js', String(codesOf('js', 'Share streams')[0]))

/** Stops a program as its operator does. */
async function checkStops (t: Test, { kill, exited, output }: Program): Promise<void> {
  kill('SIGTERM')
  t.equal(await soon('the end', exited, PATIENCE_MS), 0, output())
}

t.test('every block has a test', (t) => {
  const tested = ['Try it sh', 'Try it sh', 'Share streams sh', 'Share streams js', 'Balancers haproxy', 'Balancers nginx', 'node:cluster js', 'systemd ini', 'Kubernetes yaml', 'Limits for all instances js']
  t.same(blocks.map(({ heading, kind }: Block) => `${heading} ${kind}`), tested)
  t.end()
})

t.test('the commands of "Try it" do what they say', async (t) => {
  requireFile('/usr/bin/curl', 'curl')
  const [start = '', lines = ''] = codesOf('sh', 'Try it')
  const cluster = await startCluster(t)
  const [ask = '', follow = '', stop = ''] = [0, 1, 2].reduce((text, offset) => text.replaceAll(`127.0.0.1:${3000 + offset}`, `127.0.0.1:${cluster.port + offset}`), lines).split('\n')
  const curl = (line: string): ReturnType<typeof run> => run('sh', ['-c', line.replace(/^curl /, 'curl --silent --show-error --max-time 60 ')])

  t.ok(existsSync(root + start.replace('node ', '')), start)
  const asking = curl(`${ask} | tee ${folder}/answer`)
  const id = await soon('the id of the stream', idIn(`${folder}/answer`), PATIENCE_MS)
  const following = curl(follow.replace('ID', id))
  await curl(stop.replace('ID', id))
  const [own, other] = await Promise.all([asking, following])

  t.match(blocksOf(String(own.stdout)).at(-1)?.data, { type: 'end', reason: 'stop' })
  t.same(blocksOf(String(other.stdout)), blocksOf(String(own.stdout)))
})

/** Waits until an answer is in a file, at least as far as its id. */
async function idIn (file: string): Promise<string> {
  for (;;) {
    const id = existsSync(file) && /"streamId":"([^"]+)"/.exec(readFileSync(file, 'utf8'))?.[1]
    if (typeof id === 'string') return id
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

t.test('what is to be installed is what there is', (t) => {
  t.same(codesOf('sh', 'Share streams')[0]?.split(' ').slice(2).sort(), [...Object.keys(manifest.peerDependencies), manifest.name].sort())
  t.end()
})

t.test('the program shares its streams', async (t) => {
  const [a, b] = [startProgram(t, [server], env), startProgram(t, [server], env)]
  const response = await post(`${await a.address}/api/events`, { model: 'mock-endless', prompt: 'Hello' })
  const id = String(response.headers.get('x-stream-id'))
  const reader = new TextReader(await fetch(`${await b.address}/api/streams/${id}?after=0`))
  await reader.until((text) => text.includes('text-delta'))
  const stopped = await fetch(`${await b.address}/api/streams/${id}`, { method: 'DELETE' })

  t.equal(stopped.status, 204)
  t.match(await reader.until((text) => text.includes('"end"')), /"type":"end","reason":"stop"/)
  t.match(await response.text(), /"type":"end","reason":"stop"/)
  await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
  t.match(await (await fetch(`${await b.address}/health`)).json(), { status: 'ok' })
  await Promise.all([checkStops(t, a), checkStops(t, b)])
})

t.test('the program for node:cluster replaces its workers while they answer', async (t) => {
  const code = String(codesOf('js', 'node:cluster')[0]).replace("'server.js'", JSON.stringify(server))
  const program = startProgram(t, [write('cluster.mjs', code)], { ...env, WORKERS: '2' })
  await soon('the workers', program.printed(/2 workers listen/), PATIENCE_MS)
  const ask = async (): Promise<string> => await (await post(`${await program.address}/api/events`, { model: 'mock', prompt: 'Hello' })).text()

  const before = ask()
  program.kill('SIGHUP')
  await soon('other workers', program.printed(/all workers are replaced/), PATIENCE_MS)

  t.match(await before, /"type":"end","reason":"complete"/)
  t.match(await ask(), /"type":"end","reason":"complete"/)
  await checkStops(t, program)
})

t.test('the program with a rate limit counts over all instances', async (t) => {
  const file = write('limits.mjs', String(codesOf('js', 'Limits for all instances')[0]))
  const programs = [startProgram(t, [file], env), startProgram(t, [file], env)]
  const statuses: number[] = []
  for (let count = 0; count < 22; count++) {
    const response = await post(`${await programs[count % 2]?.address}/v1/chat/completions`, { model: 'mock-fast', prompt: 'Hello', stream: true })
    await response.text()
    statuses.push(response.status)
    if (count === 20) t.match(response.headers.get('retry-after'), /^\d+$/)
  }

  t.same(statuses, [...Array.from({ length: 20 }, () => 200), 429, 429])
  for (const program of programs) await checkStops(t, program)
})

/** A program that says nothing of a configuration likes it. */
async function checkConfig (t: Test, command: string, args: string[]): Promise<void> {
  requireFile(command, String(command.split('/').at(-1)))
  const { stdout, stderr } = await run(command, args).catch((error) => error)
  t.equal(`${stdout}${stderr}`, '')
}

t.test('the configurations of balancers are valid', async (t) => {
  const nginx = `pid ${folder}/pid;\nevents {}\nhttp {\naccess_log off;\n${codesOf('nginx', 'Balancers')[0]}\n}`
  await checkConfig(t, '/usr/sbin/nginx', ['-t', '-q', '-e', 'stderr', '-p', folder, '-c', write('nginx.conf', nginx)])
  await checkConfig(t, '/usr/sbin/haproxy', ['-c', '-q', '-f', write('haproxy.cfg', String(codesOf('haproxy', 'Balancers')[0]))])
})

t.test('the short configuration of HAProxy says what that of the example says', (t) => {
  const linesOf = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter((line) => /^(option|retr|balance|timeout|http-check|default-server|mode)/.test(line))
  const example = linesOf(readFileSync(`${root}examples/cluster/haproxy.cfg`, 'utf8'))

  t.same(linesOf(String(codesOf('haproxy', 'Balancers')[0])).filter((line) => !example.includes(line)), [])
  t.end()
})

t.test('the unit of systemd is valid, and waits long enough', async (t) => {
  const [unit = ''] = codesOf('ini', 'systemd')
  const file = write('chat@.service', unit.replace('/usr/bin/node', process.execPath))
  if (existsSync('/usr/bin/systemd-analyze')) {
    const { stdout, stderr } = await run('/usr/bin/systemd-analyze', ['verify', file.replace('@.', '@3001.')]).catch((error) => error)
    // It also tells of other units of the machine.
    t.notMatch(`${stdout}${stderr}`, /chat@/)
  }
  t.equal(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]), 35)
})

t.test('the objects of Kubernetes are YAML, and fit together', (t) => {
  const documents = parseAllDocuments(String(codesOf('yaml', 'Kubernetes')[0]))
  t.same(documents.flatMap(({ errors }) => errors), [])
  const [deployment, service] = documents.map((document) => document.toJS())
  const { template, selector } = deployment.spec
  const [container] = template.spec.containers
  const port = container.ports[0].containerPort
  const pauseSeconds = Number(container.lifecycle.preStop.exec.command[1])

  t.same([deployment.kind, service.kind], ['Deployment', 'Service'])
  t.same([selector.matchLabels, service.spec.selector], [template.metadata.labels, template.metadata.labels])
  t.same([container.readinessProbe.httpGet, container.livenessProbe.tcpSocket, service.spec.ports[0].targetPort], [{ path: '/health', port }, { port }, port])
  t.ok(container.env.every(({ value }: { value: unknown }) => typeof value === 'string'))
  t.equal(template.spec.terminationGracePeriodSeconds, pauseSeconds + 30 + 5)
  t.match(readPage('docs/scaling.md'), 'preStop of 5 s, shutdownGraceMs of 30 s, and 5 s more')
  t.end()
})
