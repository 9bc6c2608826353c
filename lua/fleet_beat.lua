-- Heartbeat: keep a member live, move overdue members to the dying, and hand some of these to the caller to reap.
-- A member that is not live any more is told so: it must rejoin as a new incarnation.
--
--   KEYS[1]  live   zset: incarnation -> server ms until which it is live
--   KEYS[2]  dying  zset: incarnation -> server ms until which its reaper has it
--   ARGV[1]  incarnation; empty for an observer that only looks for work
--   ARGV[2]  ms it stays live without a heartbeat
--   ARGV[3]  ms a reaper has for one incarnation before another may take over
--
--   Returns  {1 = live or 0 = fenced, live members now, incarnation to reap, ...} (at most 16 to reap)
--   Errors   none of our own

--- @include "server_ms"
local now = server_ms()
local answer = { 1, 0 }
if ARGV[1] ~= '' then
  if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return { 0, redis.call('ZCARD', KEYS[1]) }
  end
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
end
local now_text = string.format('%.0f', now)
for _, overdue in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now_text)) do
  redis.call('ZREM', KEYS[1], overdue)
  redis.call('ZADD', KEYS[2], 0, overdue)
end
answer[2] = redis.call('ZCARD', KEYS[1])
for _, free in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_text, 'LIMIT', 0, 16)) do
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), free)
  answer[#answer + 1] = free
end
return answer
