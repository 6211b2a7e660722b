import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Of this process and those that it starts: Node raises the soft limit to the hard one. */
export function openFilesLimit () {
  return Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
}

/**
 * Raises the limit of this process and those that it starts, where the system allows it.
 * @param {number} wanted
 */
export function raiseOpenFiles (wanted) {
  if (openFilesLimit() >= wanted) return
  spawnSync('prlimit', ['--pid', String(process.pid), `--nofile=${wanted}:${wanted}`])
}
