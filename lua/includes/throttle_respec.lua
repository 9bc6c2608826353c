-- Give a bucket another spec. What was spent stays spent: left = burst - leased - spent, in tokens, and neither leased nor
-- spent changes; but the debt is one capacity at most, and the time to live is set anew.
local function throttle_respec(bucket, spec, now)
  local refill, cost, tick, burst = string.match(spec, '^(%d+) (%d+) (%d+) (%d+) ')
  local left = bucket.tokens / bucket.cost + burst - bucket.burst
  bucket.spec, bucket.refill, bucket.cost = spec, tonumber(refill), tonumber(cost)
  bucket.tick, bucket.burst = tonumber(tick), tonumber(burst)
  bucket.capacity = bucket.burst * bucket.cost
  bucket.tokens = math.min(math.floor(left * bucket.cost), bucket.capacity - bucket.out * bucket.cost)
  bucket.tokens = math.max(bucket.tokens, -bucket.capacity - bucket.out * bucket.cost)
  bucket.respecified = true
  bucket.since = math.floor(now / bucket.tick)
  redis.call('HSET', KEYS[1], 's', spec)
end
