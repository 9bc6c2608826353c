-- Take, renew or give back the lease on an export of one series' windows, and learn which window comes next.
-- Windows that were forgotten before anybody exported them are skipped and counted.
--
--   KEYS[1]  export  hash: next -> next window; owner, until -> lease; lost -> windows skipped; w:<window> -> token of its file
--   ARGV[1]  owner: one run of an export
--   ARGV[2]  ms the lease lasts; 0 gives it back
--   ARGV[3]  oldest window that can still be read; where an export begins
--
--   Returns  {1 = the caller has the lease, 0 = another run has it, next window, windows skipped by this call}
--   Errors   none of our own

--- @include "server_ms"
local now = server_ms()
local state = redis.call('HMGET', KEYS[1], 'owner', 'until', 'next')
local next_window = tonumber(state[3] or ARGV[3])
if state[1] and state[1] ~= ARGV[1] and tonumber(state[2]) > now then
  return { 0, next_window, 0 }
end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], 'owner', 'until')
  return { 0, next_window, 0 }
end
local skipped = math.max(tonumber(ARGV[3]) - next_window, 0)
next_window = next_window + skipped
redis.call(
  'HSET', KEYS[1],
  'owner', ARGV[1],
  'until', string.format('%.0f', now + ARGV[2]),
  'next', string.format('%.0f', next_window)
)
if skipped > 0 then
  redis.call('HINCRBY', KEYS[1], 'lost', string.format('%.0f', skipped))
end
-- An export that nobody ran for a year is forgotten.
redis.call('PEXPIRE', KEYS[1], '31622400000')
return { 1, next_window, skipped }
