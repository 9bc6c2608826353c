-- Make a member live and register the shared objects it is configured with. What is registered stays as it is:
-- the answer tells the spec in force of each object, which the member compares with its own.
--
--   KEYS[1]  live     zset: incarnation -> server ms until which it is live
--   KEYS[2]  members  hash: incarnation -> "<joined ms> <record>"
--   KEYS[3]  objects  hash: object name -> spec (JSON)
--   ARGV[1]  incarnation
--   ARGV[2]  ms it stays live without a heartbeat
--   ARGV[3]  record (JSON)
--   ARGV[4..] object name, spec (JSON), repeated
--
--   Returns  {server ms, live members now, spec in force of the first object, of the second, ...}
--   Errors   none of our own

--- @include "server_ms"
local now = server_ms()
local answer = { now, 0 }
for i = 4, #ARGV, 2 do
  redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1])
  answer[#answer + 1] = redis.call('HGET', KEYS[3], ARGV[i])
end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[3])
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
answer[2] = redis.call('ZCARD', KEYS[1])
return answer
