-- Change the spec of a token bucket for everybody, at once; what was spent stays spent. Made by hand, it stays: such a bucket
-- has no time to live.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--   ARGV[1]  new spec, see throttle_take
--
--   Returns  {tokens left, spec before or the same}
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_open"
--- @include "throttle_respec"
--- @include "throttle_save"
local now = server_us()
local bucket = throttle_open(ARGV[1], now, 's')
local before = bucket.spec
throttle_respec(bucket, ARGV[1], now)
redis.call('HSET', KEYS[1], 'p', '1')
redis.call('PERSIST', KEYS[1])
throttle_save(bucket, now)
return { math.floor(bucket.tokens / bucket.cost), before }
