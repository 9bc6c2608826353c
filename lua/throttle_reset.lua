-- Fill a token bucket: nothing counts as spent any more. What is leased out stays out.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--
--   Returns  tokens left, or -1 when there is no such bucket
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_open"
--- @include "throttle_save"
local now = server_us()
local bucket = throttle_open('1 1 1 1 ', now, 's')
if bucket.fresh then
  return -1
end
bucket.tokens = bucket.capacity - bucket.out * bucket.cost
throttle_save(bucket, now)
return math.floor(bucket.tokens / bucket.cost)
