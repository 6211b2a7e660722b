// Takes instances out of HAProxy and back in while it runs, by its socket.
// https://docs.haproxy.org/2.6/management.html#9.3
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** As HAProxy says that a server is up. */
const RUNNING = '2'
const LOOK_MS = 50

/**
 * Gives an instance nothing new. What runs on it goes on.
 * @param {string} socket
 * @param {string} name
 */
export async function drain (socket, name) {
  await ask(socket, `set server instances/${name} state drain`)
}

/**
 * Gives an instance its share again; resolves once the balancer has seen for itself that it answers.
 * @param {string} socket
 * @param {string} name
 */
export async function bringBack (socket, name) {
  await ask(socket, `set server instances/${name} state ready`)
  while (await stateOf(socket, name) !== RUNNING) await sleep(LOOK_MS)
}

/**
 * @param {string} socket
 * @param {string} name
 */
async function stateOf (socket, name) {
  const lines = (await ask(socket, 'show servers state instances')).split('\n').map((line) => line.replace(/^# /, '').split(' '))
  const columns = lines.find((cells) => cells.includes('srv_op_state')) ?? []
  return lines.find((cells) => cells[columns.indexOf('srv_name')] === name)?.[columns.indexOf('srv_op_state')]
}

/**
 * @param {string} socket
 * @param {string} command
 */
async function ask (socket, command) {
  const connection = connect(socket).setEncoding('utf8')
  connection.write(`${command}\n`)
  let answer = ''
  for await (const text of connection) answer += text
  return answer
}
