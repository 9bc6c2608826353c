-- When what may be leased out is leased out, members wait. How many others have waited longer than this one and are still
-- waited for; it gets what they leave. A member that waits keeps its place as long as it comes back when it was told to.
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
        before = before + 1
      end
    end
  end
  return before
end
