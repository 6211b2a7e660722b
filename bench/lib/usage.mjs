// What processes use, as Linux counts it. Other systems have no /proc.
import { existsSync, readFileSync } from 'node:fs'
import { isPinned } from './processes.mjs'

/** Linux tells times in hundredths of a second, whatever the kernel's own tick is. */
const TICKS_A_SECOND = 100
const SERVER_CPU = /^cpu1 (.*)$/m
const ALL_CPUS = /^cpu +(.*)$/m

/** Whether this machine can measure. */
export const canMeasure = existsSync('/proc/self/stat')

/**
 * @param {number} pid
 * @returns {number} CPU seconds of all its threads so far
 */
export function cpuSeconds (pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name of the program may have spaces; what follows it has none. utime and stime are the fields 14 and 15 of all.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND
}

/**
 * @param {number} pid
 * @returns {{ now: number, peak: number }} resident bytes
 */
export function residentBytes (pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  /** @param {string} name */
  const read = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024
  return { now: read('VmRSS'), peak: read('VmHWM') }
}

/** @returns {number} seconds that the server's core has worked so far, for anyone */
export function busySeconds () {
  const line = (isPinned ? SERVER_CPU : ALL_CPUS).exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? ''
  const [user, nice, system, , , irq, softirq] = line.split(' ').map(Number)
  return (user + nice + system + irq + softirq) / TICKS_A_SECOND
}
