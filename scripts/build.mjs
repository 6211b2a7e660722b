// Builds lib/ and types/ twice into dist/: ES modules and CommonJS, each with its declarations.
// Run: npm run build. The marker dist/cjs/package.json is written last, so it also tells when a build was complete.
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

function compile (project) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

rmSync(`${root}/dist`, { recursive: true, force: true })
compile('tsconfig.json')
compile('tsconfig.cjs.json')
mkdirSync(`${root}/dist/cjs`, { recursive: true })
writeFileSync(`${root}/dist/cjs/package.json`, '{ "type": "commonjs" }\n')
