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
--- @include "throttle_save"
local now = server_us()
local bucket = throttle_open(ARGV[1], now, 's')
local before = bucket.spec
local refill, cost, tick, burst = string.match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) ')
-- In tokens: left = burst - leased - spent, and neither leased nor spent changes.
local left = bucket.tokens / bucket.cost + burst - bucket.burst
bucket.spec, bucket.refill, bucket.cost = ARGV[1], tonumber(refill), tonumber(cost)
bucket.tick, bucket.burst = tonumber(tick), tonumber(burst)
bucket.capacity = bucket.burst * bucket.cost
bucket.tokens = math.min(math.floor(left * bucket.cost), bucket.capacity - bucket.out * bucket.cost)
bucket.since = math.floor(now / bucket.tick)
redis.call('HSET', KEYS[1], 's', bucket.spec, 'p', '1')
redis.call('PERSIST', KEYS[1])
throttle_save(bucket, now)
return { math.floor(left), before }
