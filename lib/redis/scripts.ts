import { createHash } from 'node:crypto'

/**
 * Everything that Redis does for a stream is one of these scripts: one round trip, and nothing comes between. Each is
 * given the same keys, which share a hash tag and so a slot of a Cluster:
 *
 *   1  <prefix>{<id>}:e  Stream of batches: entry `<number of its last event>-0`, field `e`, events joined by line breaks
 *   2  <prefix>{<id>}:m  hash: token, node, state, last, bytes, format, usage, owner, cancel
 *   3  <prefix>{<id>}:l  lease of the producer
 *   4  <prefix>{<id>}:r  there while somebody reads
 *
 * The first argument is the stream's channel. What is published there says only that there is something to see.
 */
export interface Script {
  readonly text: string
  /** By this name Redis knows it once it has run. */
  readonly sha: string
}

function script (text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** A stream whose lease ran out is lost for good: whoever sees it first says so, and a producer that wakes up is fenced off. */
const lose = `
local function lose ()
  redis.call('HSET', KEYS[2], 'state', 'lost')
  redis.call('PUBLISH', ARGV[1], '')
  return 'lost'
end
local function stateOf (noted)
  if noted == 'open' and redis.call('EXISTS', KEYS[3]) == 0 then return lose() end
  return noted
end
`

/** Arguments: channel, token, node, format, owner or nothing, ms of the lease, ms until all is forgotten, '1' for usage. */
export const openScript: Script = script(`
local token = redis.call('HGET', KEYS[2], 'token')
if token then return token == ARGV[2] and 'ok' or 'lost' end
redis.call('HSET', KEYS[2], 'token', ARGV[2], 'node', ARGV[3], 'state', 'open', 'last', 0, 'bytes', 0, 'format', ARGV[4], 'usage', ARGV[8])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'owner', ARGV[5]) end
redis.call('SET', KEYS[3], '', 'PX', ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return 'ok'
`)

/**
 * Appends a batch, ends the stream, or only shows that the producer lives. Arguments: channel, token, number of the last
 * event, count of events, events, '1' to end, most bytes, ms of the lease, ms that events are kept, ms that the stream is
 * known after that. A batch that is there already is not appended again; one that leaves a gap, after Redis lost what it
 * had confirmed, is the end of the stream.
 */
export const writeScript: Script = script(`${lose}
local token, state, known, bytes, cancel = unpack(redis.call('HMGET', KEYS[2], 'token', 'state', 'last', 'bytes', 'cancel'))
if not token then return 'gone' end
if token ~= ARGV[2] or state == 'lost' then return 'lost' end
if state == 'ended' then return 'ok' end
if state == 'gone' then return 'gone' end
local last, count, isEnd, leaseMs, ttlMs = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6] == '1', tonumber(ARGV[8]), tonumber(ARGV[9])
local isNew = last > tonumber(known)
if redis.call('EXISTS', KEYS[3]) == 0 or (isNew and last - count ~= tonumber(known)) then return lose() end
if isNew then
  -- The first write of all: Redis looks at maxmemory before that one, and lets the others pass.
  redis.call('XADD', KEYS[1], ARGV[3] .. '-0', 'e', ARGV[5])
  bytes = bytes + #ARGV[5]
  while bytes > tonumber(ARGV[7]) do
    local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    bytes = oldest and bytes - #oldest[2][2] or 0
    if oldest then redis.call('XDEL', KEYS[1], oldest[1]) end
  end
  redis.call('HSET', KEYS[2], 'last', ARGV[3], 'bytes', bytes)
end
if isEnd then
  redis.call('HSET', KEYS[2], 'state', 'ended')
  redis.call('DEL', KEYS[3])
else
  redis.call('PEXPIRE', KEYS[3], leaseMs)
  ttlMs = ttlMs + leaseMs
end
redis.call('PEXPIRE', KEYS[1], ttlMs)
redis.call('PEXPIRE', KEYS[2], ttlMs + ARGV[10])
if (isNew or isEnd) and redis.call('EXISTS', KEYS[4]) == 1 then redis.call('PUBLISH', ARGV[1], '') end
return cancel and 'cancel' or 'ok'
`)

/**
 * Reads behind a position. Arguments: channel, position, ID of the entry with the event behind it, most entries, ms that
 * somebody counts as a reader, or '0' to leave that as it is. Returns the state, the number of the last event, entries.
 */
export const lookScript: Script = script(`${lose}
local noted, last = unpack(redis.call('HMGET', KEYS[2], 'state', 'last'))
if not noted then return false end
local state = stateOf(noted)
if state == 'open' and ARGV[5] ~= '0' then redis.call('SET', KEYS[4], '', 'PX', ARGV[5]) end
local entries = {}
if tonumber(ARGV[2]) < tonumber(last) then entries = redis.call('XRANGE', KEYS[1], ARGV[3], '+', 'COUNT', ARGV[4]) end
return { state, last, entries }
`)

/** Returns state, numbers of the first and the last event, '1' while somebody reads, format, owner or nothing, '1' for usage. */
export const statusScript: Script = script(`${lose}
local noted, last, format, owner, usage = unpack(redis.call('HMGET', KEYS[2], 'state', 'last', 'format', 'owner', 'usage'))
if not noted then return false end
local state, first = stateOf(noted), last + 1
if state == 'gone' then state = 'expired' end
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if oldest then
  first = tonumber(string.match(oldest[1], '%d+'))
  for _ in string.gmatch(oldest[2][2], '\\n') do first = first - 1 end
elseif state ~= 'open' and last ~= '0' and redis.call('EXISTS', KEYS[1]) == 0 then
  state = 'expired'
end
return { state, tostring(first), last, tostring(redis.call('EXISTS', KEYS[4])), format, owner or '', usage }
`)

/**
 * Forgets what was kept of a stream that its producer cannot keep any more: nobody is to wait for the rest. Arguments:
 * channel, token.
 */
export const giveUpScript: Script = script(`
local token, state = unpack(redis.call('HMGET', KEYS[2], 'token', 'state'))
if token ~= ARGV[2] or state ~= 'open' then return 0 end
redis.call('HSET', KEYS[2], 'state', 'gone')
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('PUBLISH', ARGV[1], '')
return 1
`)

/** Notes that somebody asks for the end, and calls the instance of the producer. Arguments: channel, id of the stream. */
export const cancelScript: Script = script(`${lose}
local noted, node = unpack(redis.call('HMGET', KEYS[2], 'state', 'node'))
if not noted or stateOf(noted) ~= 'open' then return 0 end
redis.call('HSET', KEYS[2], 'cancel', 1)
redis.call('PUBLISH', node, ARGV[2])
return 1
`)
