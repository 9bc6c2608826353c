--- @include "throttle_lease_read"
--- @include "throttle_lease_text"
--- @include "throttle_refill"
-- Read a bucket as it is at `now` (us); nothing is written before throttle_save. All amounts are whole numbers: a token is
-- `cost` units, `refill` units come back in a tick of `tick` us, so no sum is ever rounded.
--
--   fields of the hash:  s = spec, t = units left (negative: promised ahead), u = tick up to which they are reckoned,
--                        o = tokens leased out, e = time from which a lease may be over (us, 0 = none), b = time of birth (us),
--                        p = 1 when the spec was set by hand, k<who> = taken strictly, l<who> = lease,
--                        lstrict = put by for strict checks, w = time until which somebody may wait for tokens (us),
--                        a = tokens promised ahead of time to strict takers and when the last of them is due (us)
local function throttle_open(offered, now, record)
  local stored = redis.call('HMGET', KEYS[1], 's', 't', 'u', 'o', 'e', 'b', 'w', 'a', record)
  local spec = stored[1] or offered
  local refill, cost, tick, burst = string.match(spec, '^(%d+) (%d+) (%d+) (%d+) ')
  refill, cost, tick, burst = refill + 0, cost + 0, tick + 0, burst + 0
  local capacity, at = burst * cost, math.floor(now / tick)
  -- One constructor with every field: a table that grows field by field is laid out anew at each doubling.
  if not stored[1] then
    return {
      spec = spec, refill = refill, cost = cost, tick = tick, burst = burst, capacity = capacity, tokens = capacity,
      since = at, out = 0, ends = 0, waits = 0, promised = 0, born = string.format('%.0f', now), was = 0,
      fresh = true, record = stored[9], writes = {}, over = {},
    }
  end
  local since, out, ends, waits = stored[3] + 0, stored[4] + 0, stored[5] + 0, stored[7] + 0
  local bucket = {
    spec = spec, refill = refill, cost = cost, tick = tick, burst = burst, capacity = capacity, tokens = stored[2] + 0,
    since = since, out = out, ends = ends, waits = waits, promised = 0, born = stored[6], was = since * tick,
    fresh = false, record = stored[9], writes = {}, over = {}, stepped = at < since, out_was = out, ends_was = ends,
    waits_was = waits,
  }
  if bucket.stepped and bucket.out > 0 then
    -- The clock stepped back: leases must not last by as much longer.
    local covered = now + math.max(math.ceil(-bucket.tokens / refill), 0) * tick
    local latest = covered + 11000000
    local all = redis.call('HGETALL', KEYS[1])
    bucket.ends, bucket.waits = now, 0
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 1) == 'l' then
        local lease = throttle_lease_read(all[i + 1])
        lease.starts = math.min(lease.starts, covered)
        lease.ends = math.min(lease.ends, all[i] == 'lstrict' and covered + 1000000 or latest)
        lease.since, lease.till, lease.at = 0, 0, now / 1000000
        local text = throttle_lease_text(lease)
        bucket.writes[#bucket.writes + 1] = all[i]
        bucket.writes[#bucket.writes + 1] = text
        bucket.over[all[i]] = text
        if all[i] == record then bucket.record = text end
      end
    end
  elseif bucket.ends > 0 and bucket.ends <= now then
    -- Leases that are over count as spent, each from its own end on; what was put by for strict checks goes back.
    local all, over = redis.call('HGETALL', KEYS[1]), {}
    bucket.ends = 0
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 1) == 'l' then
        local lease = throttle_lease_read(all[i + 1])
        lease.field = all[i]
        if lease.held > 0 and lease.ends <= now then
          over[#over + 1] = lease
        elseif lease.held > 0 and (bucket.ends == 0 or lease.ends < bucket.ends) then
          bucket.ends = lease.ends
        end
      end
    end
    table.sort(over, function(a, b) return a.ends < b.ends end)
    for _, lease in ipairs(over) do
      throttle_refill(bucket, math.max(bucket.since, math.floor(lease.ends / bucket.tick)))
      bucket.out = bucket.out - lease.held
      if lease.field == 'lstrict' then
        bucket.tokens = bucket.tokens + lease.held * bucket.cost
      else
        lease.spent = lease.spent + lease.held
      end
      lease.held = 0
      local text = throttle_lease_text(lease)
      bucket.writes[#bucket.writes + 1] = lease.field
      bucket.writes[#bucket.writes + 1] = text
      bucket.over[lease.field] = text
      if lease.field == record then bucket.record = text end
    end
  end
  throttle_refill(bucket, at)
  -- Promises (takes ahead of time) not yet due: no more than were made, and no more than the debt.
  if bucket.tokens < 0 and stored[8] then
    local count, due = string.match(stored[8], '^(%d+) (%d+)$')
    if now < tonumber(due) then
      bucket.promised = math.min(tonumber(count), math.ceil(-bucket.tokens / bucket.cost))
    end
  end
  return bucket
end
