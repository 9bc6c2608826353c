-- Mark a window as exported by the file with this token: from now on no other run exports it. Only the run that has the lease
-- may, for the window that comes next. Again by the same token is the same once.
--
--   KEYS[1]  export  hash: next -> next window; owner, until -> lease; lost -> windows skipped; w:<window> -> token of its file
--   ARGV[1]  owner: one run of an export
--   ARGV[2]  window
--   ARGV[3]  token of the file; empty when the window held nothing
--   ARGV[4]  how many windows back tokens are remembered
--
--   Returns  1 = it is this file's, 0 = the lease or the window is another's
--   Errors   none of our own

local window = tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'owner', 'next', 'w:' .. ARGV[2])
if state[3] then
  return state[3] == ARGV[3] and 1 or 0
end
if state[1] ~= ARGV[1] or tonumber(state[2]) ~= window then
  return 0
end
redis.call('HSET', KEYS[1], 'next', string.format('%.0f', window + 1), 'w:' .. ARGV[2], ARGV[3])
redis.call('HDEL', KEYS[1], string.format('w:%.0f', window - ARGV[4]))
return 1
