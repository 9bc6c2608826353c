-- Write a bucket back, with one record changed. Once an hour, and when it is new, its time to live is set anew: until it is
-- full whatever happens, and a day more, for its spec and counts; and records that nobody used for a day are dropped.
local function throttle_save(bucket, now, record, text)
  local writes, text_of = bucket.writes, string.format
  local size = #writes
  if record then
    writes[size + 1], writes[size + 2] = record, text
    size = size + 2
  end
  -- Strict checks alone leave these three as they are, and are spared the writing.
  if bucket.out ~= bucket.out_was or bucket.ends ~= bucket.ends_was or bucket.waits ~= bucket.waits_was then
    writes[size + 1], writes[size + 2] = 'o', text_of('%.0f', bucket.out)
    writes[size + 3], writes[size + 4] = 'e', text_of('%.0f', bucket.ends)
    writes[size + 5], writes[size + 6] = 'w', text_of('%.0f', bucket.waits)
  end
  if bucket.fresh then
    redis.call('HSET', KEYS[1], 's', bucket.spec, 'b', bucket.born)
  end
  while #writes > 4000 do
    -- Leases by the thousand that are over at once; unpack has its bound.
    local some = {}
    for i = #writes, #writes - 3999, -2 do
      some[#some + 1], some[#some + 2] = writes[i - 1], writes[i]
      writes[i], writes[i - 1] = nil, nil
    end
    redis.call('HSET', KEYS[1], unpack(some))
  end
  redis.call('HSET', KEYS[1], 't', text_of('%.0f', bucket.tokens), 'u', text_of('%.0f', bucket.since), unpack(writes))
  if bucket.fresh or bucket.respecified or math.floor(bucket.was / 3600000000) ~= math.floor(now / 3600000000) then
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
