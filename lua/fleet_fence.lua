-- Move members from the live to the dying, claimed by the caller, who reaps them: a leave or a reset.
--
--   KEYS[1]  live   zset: incarnation -> server ms until which it is live
--   KEYS[2]  dying  zset: incarnation -> server ms until which its reaper has it
--   ARGV[1]  ms the caller has before another reaper may take over
--   ARGV[2..] incarnations
--
--   Returns  how many of them were live
--   Errors   none of our own

--- @include "server_ms"
local until_ms = string.format('%.0f', server_ms() + ARGV[1])
local moved = 0
for i = 2, #ARGV do
  if redis.call('ZREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], until_ms, ARGV[i])
    moved = moved + 1
  end
end
return moved
