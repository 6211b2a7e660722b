// Checks what a host would install: packs the package, runs attw and publint on the tarball, installs it into an empty
// app in a temporary folder, compiles test/package/host.ts there in every resolution mode, and runs the host apps; then
// compiles and bundles test/package/client.ts as a page would, and weighs the client library.
// Run: npm run test:package. Prints one line a check; the first failure ends it with exit code 1.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { devDependencies, name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const hosts = join(root, 'test/package')

/** How TypeScript hosts resolve packages, and the file extension that makes host.ts an ES module or CommonJS there. */
const modes = [
  { title: 'nodenext ESM', extension: 'mts', module: 'nodenext', moduleResolution: 'nodenext', runs: 'mjs' },
  { title: 'nodenext CJS', extension: 'cts', module: 'nodenext', moduleResolution: 'nodenext', runs: 'cjs' },
  { title: 'node16 ESM', extension: 'mts', module: 'node16', moduleResolution: 'node16' },
  { title: 'node16 CJS', extension: 'cts', module: 'node16', moduleResolution: 'node16' },
  { title: 'bundler', extension: 'ts', module: 'esnext', moduleResolution: 'bundler' }
]

/** What a page loads of the client library: bundled, minified and compressed, with all that it needs. */
const weights = [
  { title: 'streamChat', code: "export { streamChat } from 'fastify-llm-stream/client'", maxBytes: 5.5 * 1024 },
  { title: 'ChatSocket', code: "export { ChatSocket } from 'fastify-llm-stream/client'", maxBytes: 3.5 * 1024 },
  { title: 'all of the client library', code: "export * from 'fastify-llm-stream/client'", maxBytes: 7.25 * 1024 }
]

const folder = mkdtempSync(join(tmpdir(), `${name}-check-`))
try {
  const tarball = pack()
  check('attw', root, 'npx', ['--no-install', 'attw', tarball, '--profile', 'node16', '--no-emoji'])
  check('publint', root, 'npx', ['--no-install', 'publint', '--strict', tarball])
  const app = installHost(tarball)
  for (const mode of modes) compile(app, mode)
  for (const file of ['host.mjs', 'host.cjs']) runHost(app, `plain ${file}`, join(hosts, file), file)
  compilePage(app)
  for (const weight of weights) await weigh(app, weight)
  console.log('package checks passed')
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** @returns {string} Path of the tarball. dist/ is up to date already, so that the scripts of a publication need not run. */
function pack () {
  const [{ filename }] = JSON.parse(check('npm pack', root, 'npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]))
  return join(folder, filename)
}

/** An empty app with the tarball and, in the versions of this repository, what a TypeScript host has beside it. */
function installHost (tarball) {
  const app = join(folder, 'app')
  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "private": true }\n')
  const others = ['fastify', 'typescript', '@types/node'].map((dependency) => `${dependency}@${devDependencies[dependency]}`)
  check('npm install', app, 'npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', tarball, ...others])
  return app
}

/** Compiles host.ts in a folder of its own, without skipping declarations, and runs it where Node can. */
function compile (app, { title, extension, runs, ...compilerOptions }) {
  const project = join(app, title.replace(' ', '-'))
  mkdirSync(project)
  copyFileSync(join(hosts, 'host.ts'), join(project, `host.${extension}`))
  const options = { ...compilerOptions, target: 'es2022', lib: ['es2023'], types: ['node'], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: runs === undefined }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['.'] }))
  check(`compile: ${title}`, project, process.execPath, [join(app, 'node_modules/typescript/bin/tsc'), '-p', project])
  if (runs !== undefined) check(`run: ${title}`, project, process.execPath, [`host.${runs}`])
}

/** As a page's project: the types of browsers, and none of Node. */
function compilePage (app) {
  const project = join(app, 'page')
  mkdirSync(project)
  copyFileSync(join(hosts, 'client.ts'), join(project, 'client.ts'))
  const compilerOptions = { module: 'esnext', moduleResolution: 'bundler', target: 'es2022', lib: ['es2023', 'dom'], types: [], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['.'] }))
  check('compile: page', project, process.execPath, [join(app, 'node_modules/typescript/bin/tsc'), '-p', project])
}

/** Bundles for browsers, which fails where something of Node is imported, and fails over the bound. */
async function weigh (app, { title, code, maxBytes }) {
  const { outputFiles } = await build({ stdin: { contents: code, resolveDir: app }, bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', write: false })
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length
  if (bytes >= maxBytes) throw new Error(`FAILED ${title}: ${bytes} bytes, minified and compressed, expected fewer than ${maxBytes}`)
  console.log(`ok   ${title}: ${bytes} bytes, minified and compressed`)
}

function runHost (app, title, source, file) {
  copyFileSync(source, join(app, file))
  check(`run: ${title}`, app, process.execPath, [file])
}

/** Runs a command; returns its standard output, or throws with all that it said. */
function check (title, cwd, command, args) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000, shell: process.platform === 'win32' })
  if (result.status !== 0) {
    throw new Error(`FAILED ${title}: ${result.error?.message ?? `exit ${result.status ?? result.signal}`}\n${result.stdout}${result.stderr}`)
  }
  console.log(`ok   ${title}`)
  return result.stdout
}
