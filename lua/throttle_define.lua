-- Make a token bucket unless it is there, and tell the spec in force. A configured spec replaces another one, unless that
-- was set by hand; what was spent stays spent.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--   ARGV[1]  spec it gets if it is new, see throttle_take
--   ARGV[2]  1 = the spec is the configured one, 0 = whoever comes first decides
--
--   Returns  {1 = made or changed, 0 = was there, birth, spec in force}
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_open"
--- @include "throttle_respec"
--- @include "throttle_save"
local now = server_us()
local bucket = throttle_open(ARGV[1], now, 'p')
local changes = ARGV[2] == '1' and bucket.spec ~= ARGV[1] and not bucket.record
if changes then
  throttle_respec(bucket, ARGV[1], now)
end
if bucket.fresh or changes then
  throttle_save(bucket, now)
end
return { (bucket.fresh or changes) and 1 or 0, bucket.born, bucket.spec }
