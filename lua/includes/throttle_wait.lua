-- Tell a member to come back: when the next booked token is due, and as much later as others wait before it.
-- Answers the us until then.
local function throttle_wait(bucket, lease, before, now)
  local interval = math.ceil(bucket.cost / bucket.refill) * bucket.tick
  local ahead = math.max(math.ceil((bucket.cost - bucket.tokens) / bucket.refill), 0) * bucket.tick
  local wait = math.max(ahead + before * interval - bucket.out * interval, math.floor(interval / 4), 2000)
  if lease.till <= now then lease.since = now end
  lease.till = now + wait + 100000
  if lease.till > bucket.waits then bucket.waits = lease.till end
  return wait
end
