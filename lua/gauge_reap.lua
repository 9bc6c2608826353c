-- Fence an incarnation in one shard for good and take its counts out of the sums, a part in each call.
-- Any number of reapers may do this at once, stop in the middle and begin again: what is subtracted is deleted in the
-- same step. Tombstones of others older than a day are cleared on the way.
--
--   KEYS[1]  registry  hash: incarnation -> last applied sequence, or minus time of death (ms)
--   KEYS[2]  sums      hash: item -> sum over all members
--   KEYS[3]  copy      hash: item -> count of this incarnation
--   ARGV[1]  incarnation
--   ARGV[2]  items to take in this call, about (1 to 1000)
--   ARGV[3]  HSCAN cursor of the call before, "0" at first
--
--   Returns  {items left, HSCAN cursor}
--   Errors   none of our own

--- @include "server_ms"
local now = server_ms()
local state = redis.call('HGET', KEYS[1], ARGV[1])
if not state or tonumber(state) >= 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', -now))
  local registry = redis.call('HGETALL', KEYS[1])
  for i = 1, #registry, 2 do
    local since = tonumber(registry[i + 1])
    if since < 0 and now + since > 86400000 then
      redis.call('HDEL', KEYS[1], registry[i])
    end
  end
end

local page = redis.call('HSCAN', KEYS[3], ARGV[3], 'COUNT', ARGV[2])
local found = page[2]
for first = 1, #found, 2000 do
  local items, counts = {}, {}
  for i = first, math.min(first + 1999, #found), 2 do
    items[#items + 1] = found[i]
    counts[#counts + 1] = found[i + 1]
  end
  local sums = redis.call('HMGET', KEYS[2], unpack(items))
  local sum_set, sum_del = {}, {}
  for i = 1, #items do
    -- An item HSCAN repeats within one page was counted already: take it once.
    if redis.call('HDEL', KEYS[3], items[i]) == 1 then
      local sum = tonumber(sums[i] or '0') - counts[i]
      if sum == 0 then
        sum_del[#sum_del + 1] = items[i]
      else
        sum_set[#sum_set + 1] = items[i]
        sum_set[#sum_set + 1] = sum
      end
    end
  end
  if #sum_set > 0 then redis.call('HSET', KEYS[2], unpack(sum_set)) end
  if #sum_del > 0 then redis.call('HDEL', KEYS[2], unpack(sum_del)) end
end
return { redis.call('HLEN', KEYS[3]), page[1] }
