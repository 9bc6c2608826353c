-- Write a bucket back, with one record changed. Once an hour, and when it is new, its time to live is set anew: until it is
-- full whatever happens, and a day more, for its spec and counts; and records that nobody used for a day are dropped.
local function throttle_save(bucket, now, record, text)
  local writes = bucket.writes
  if record then
    writes[#writes + 1] = record
    writes[#writes + 1] = text
  end
  if bucket.fresh then
    redis.call('HSET', KEYS[1], 's', bucket.spec, 'b', bucket.born)
  end
  redis.call('HSET', KEYS[1], 't', string.format('%.0f', bucket.tokens), 'u', string.format('%.0f', bucket.since),
    'o', string.format('%.0f', bucket.out), 'e', string.format('%.0f', bucket.ends),
    'w', string.format('%.0f', bucket.waits), unpack(writes))
  if bucket.fresh or math.floor(bucket.was / 3600000000) ~= math.floor(now / 3600000000) then
    local day_ago = now / 1000000 - 90000
    local all, kept = redis.call('HGETALL', KEYS[1]), false
    for i = 1, #all, 2 do
      local at = string.match(all[i], '^[kl].') and string.match(all[i + 1], '(%d+)$')
      if at and tonumber(at) < day_ago then
        redis.call('HDEL', KEYS[1], all[i])
      elseif all[i] == 'p' then
        kept = true
      end
    end
    if not kept then
      local full_ms = math.ceil(2 * bucket.capacity / bucket.refill) * bucket.tick / 1000
      redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(full_ms) + 90000000))
    end
  end
end
