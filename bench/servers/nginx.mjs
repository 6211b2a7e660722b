// nginx in front of the upstream, one worker, nothing buffered. Its configuration is written for each start.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../results/nginx/', import.meta.url))
const tempPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/**
 * @param {{ port: number, upstreamPort: number }} where
 * @returns {string[]} the command that serves
 */
export function nginxCommand ({ port, upstreamPort }) {
  mkdirSync(folder, { recursive: true })
  const file = `${folder}nginx.conf`
  writeFileSync(file, configuration(port, upstreamPort))
  return ['nginx', '-p', folder, '-e', `${folder}error.log`, '-c', file]
}

/**
 * @param {number} port
 * @param {number} upstreamPort
 */
function configuration (port, upstreamPort) {
  return `
daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid ${folder}nginx.pid;
events { worker_connections 19000; }
http {
  access_log off;
  keepalive_requests 10000000;
  ${tempPaths.map((name) => `${name}_temp_path ${folder}${name};`).join('\n  ')}
  upstream model { server 127.0.0.1:${upstreamPort}; keepalive 1000; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /chat {
      proxy_pass http://model/v1/chat/completions;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`
}
