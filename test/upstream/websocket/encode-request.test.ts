import t from 'tap'
import { encodeFrame, socketUrl } from '../../../lib/upstream/websocket/encode-request.ts'

t.test('socketUrl() adds to the query of the base URL what is not empty', async (t) => {
  const base = 'wss://x.example/v1/ws/chat'

  t.equal(socketUrl(base, {}).href, base)
  t.equal(socketUrl(base, { model: 'gpt-4.1', api_key: 'a/b+c=' }).href, `${base}?model=gpt-4.1&api_key=a%2Fb%2Bc%3D`)
  t.equal(socketUrl(`${base}?version=1`, { model: '', api_key: undefined }).href, `${base}?version=1`)
  t.equal(socketUrl(`${base}?model=default`, { model: 'other' }).href, `${base}?model=other`)
})

t.test('socketUrl() leaves out a fragment, which WebSocket addresses must not have', async (t) => {
  t.equal(socketUrl('ws://x.example/#a', {}).href, 'ws://x.example/')
})

t.test('encodeFrame() names the request, whatever type its body has', async (t) => {
  t.strictSame(JSON.parse(encodeFrame({ type: 'mine', model: 'm', messages: [], stream: true }, 'completion')), {
    type: 'chat.completion', model: 'm', messages: [], stream: true
  })
  t.strictSame(JSON.parse(encodeFrame({ messages: [] }, 'request')), { type: 'chat.request', messages: [] })
})
