-- Make a token bucket unless it is there, and tell the spec in force.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--   ARGV[1]  spec it gets if it is new, see throttle_take
--
--   Returns  {1 = made or 0 = was there, birth, spec in force}
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_open"
--- @include "throttle_save"
local now = server_us()
local bucket = throttle_open(ARGV[1], now, 's')
if bucket.fresh then
  throttle_save(bucket, now)
end
return { bucket.fresh and 1 or 0, bucket.born, bucket.spec }
