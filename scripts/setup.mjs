// Makes a fresh clone ready: installs what the lock file names and builds dist/, each only when missing or out of date.
// Runs before `npm start` and `npm test`, so it uses nothing but Node itself.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const lockFile = join(root, 'package-lock.json')
/** npm writes its own copy of the lock file at the end of each install. */
const installedLockFile = join(root, 'node_modules/.package-lock.json')
/** The last file of a build. */
const buildMarker = join(root, 'dist/cjs/package.json')

if (!isInstalled()) install()
if (!isBuilt()) run('building dist', process.execPath, ['scripts/build.mjs'])

function isInstalled () {
  if (!existsSync(installedLockFile)) return false
  if (!existsSync(lockFile) || modified(lockFile) <= modified(installedLockFile)) return true
  // Newer by its time only, as after a checkout: what counts is whether another version is named.
  const wanted = Object.entries(JSON.parse(readFileSync(lockFile, 'utf8')).packages)
  const installed = JSON.parse(readFileSync(installedLockFile, 'utf8')).packages
  return wanted.every(([path, { version, optional, link }]) =>
    path === '' || optional || link || installed[path]?.version === version)
}

function install () {
  const command = existsSync(lockFile) ? 'ci' : 'install'
  run(`npm ${command}`, 'npm', [command, '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'])
}

function isBuilt () {
  if (!existsSync(buildMarker)) return false
  const configs = readdirSync(root).filter((name) => /^tsconfig.*\.json$/.test(name))
  const sources = ['lib', 'types', 'package.json', ...configs].flatMap((name) => withDescendants(join(root, name)))
  return sources.every((path) => modified(path) <= modified(buildMarker))
}

/** A path and all below it; a folder's own time tells of removed files. */
function withDescendants (path) {
  if (!statSync(path).isDirectory()) return [path]
  return [path, ...readdirSync(path, { recursive: true }).map((name) => join(path, name))]
}

function modified (path) {
  return statSync(path).mtimeMs
}

function run (title, command, args) {
  console.log(`setup: ${title}`)
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (error !== undefined) console.error(error.message)
  if (status !== 0) process.exit(status ?? 1)
}
