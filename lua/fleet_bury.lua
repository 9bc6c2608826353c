-- Forget an incarnation that has been reaped in every shard. A live one is left alone.
--
--   KEYS[1]  live     zset: incarnation -> server ms until which it is live
--   KEYS[2]  dying    zset: incarnation -> server ms until which its reaper has it
--   KEYS[3]  members  hash: incarnation -> record
--   ARGV[1]  incarnation
--
--   Returns  1 when it was forgotten, 0 when it is live
--   Errors   none of our own

if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
