-- When what may be leased out is leased out, members wait. How many tokens are for others who have waited longer
-- and are still waited for; this one gets what they leave. A member that waits keeps its place as long as it comes back when it was told to.
local function throttle_queue(bucket, field, lease, now)
  if now >= bucket.waits then
    return 0
  end
  local mine = lease.till > now and lease.since or now
  local all, before = redis.call('HGETALL', KEYS[1]), 0
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'l' and all[i] ~= field then
      local other = throttle_lease_read(all[i + 1])
      if other.till > now and (other.since < mine or (other.since == mine and all[i] < field)) then
        before = before + other.least
      end
    end
  end
  return before
end
