-- Everything about a token bucket as it is now. Reads only.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--
--   Returns  {} when there is none, else {tokens left, tokens leased out, us until full, birth, 1 = spec set by hand, spec,
--             server us, name, value, ... of the members' records}
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_open"
local now = server_us()
local bucket = throttle_open('1 1 1 1 ', now, 'p')
if bucket.fresh then
  return {}
end
local missing = bucket.capacity - bucket.out * bucket.cost - bucket.tokens
local full = missing > 0 and (bucket.since + math.ceil(missing / bucket.refill)) * bucket.tick - now or 0
local answer = {
  math.floor(bucket.tokens / bucket.cost), bucket.out, full, bucket.born, bucket.record and 1 or 0, bucket.spec, now,
}
local records = redis.call('HGETALL', KEYS[1])
for i = 1, #records, 2 do
  if string.match(records[i], '^[kl].') then
    answer[#answer + 1] = records[i]
    answer[#answer + 1] = bucket.over[records[i]] or records[i + 1]
  end
end
return answer
