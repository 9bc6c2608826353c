-- Ask a token bucket for tokens, strictly: the bucket decides now.
-- What the member knows to have taken and the server does not (a failover lost it) is charged first, and so is what the
-- member let pass by itself while the server was away.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--   ARGV[1]  spec the bucket gets if it is new: "<units a tick> <units a token> <us a tick> <burst> <text>"
--   ARGV[2]  who asks, one name for the whole life of a process
--   ARGV[3]  birth of the bucket as the member knows it (us), or empty
--   ARGV[4]  tokens this member knows to have taken strictly since then
--   ARGV[5]  checks this member refused since it lives
--   ARGV[6]  tokens it ever let pass by itself while the server was away
--   ARGV[7]  how many of these it knows to be charged
--   ARGV[8]  tokens wanted; 0 only looks: what a check of 1 would be told
--   ARGV[9]  how: 0 = all or nothing, 1 = take whatever is left, 2 = take ahead of time if the wait is not too long,
--            3 = as many as there are, 4 = give back
--   ARGV[10] longest wait (us), for 2
--
--   Returns  {tokens got, tokens left (negative: promised ahead), us until as many come again (of 2: until those got may be
--             used), us until full,
--             tokens this member has taken, birth, spec in force}
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_charge"
--- @include "throttle_open"
--- @include "throttle_queue"
--- @include "throttle_save"
--- @include "throttle_strict_read"
--- @include "throttle_wait"
local now = server_us()
local field = 'k' .. ARGV[2]
local bucket = throttle_open(ARGV[1], now, field)
local cost = bucket.cost
local taken, _, charged, told = throttle_strict_read(bucket.record)
local known, debt, paid, wanted, how = ARGV[4] + 0, ARGV[6] + 0, ARGV[7] + 0, ARGV[8] + 0, ARGV[9] + 0
-- A refusal needs no write, but for a sign of it once a second, and when the clock stepped back: then tokens come back
-- from here on.
local changed = bucket.stepped or (ARGV[5] ~= '0' and told < now / 1000000 - 1)
local floor = math.min(bucket.tokens, -bucket.capacity)
if ARGV[3] == bucket.born and known > taken then
  bucket.tokens = math.max(bucket.tokens - (known - taken) * cost, floor)
  taken, changed = known, true
end
if debt > charged then
  charged, changed = throttle_charge(bucket, debt, math.max(charged, paid)), true
end

local got, wait = 0, nil
if how == 4 then
  bucket.tokens = math.max(bucket.tokens, math.min(bucket.tokens + wanted * cost, bucket.capacity - bucket.out * cost))
  got, changed = wanted, true
else
  local pot = nil
  if bucket.out > 0 or now < bucket.waits then
    pot = throttle_lease_read(bucket.over.lstrict or redis.call('HGET', KEYS[1], 'lstrict'))
    if bucket.tokens >= 0 and pot.starts > now then
      pot.starts = now -- all that is promised is covered
    end
  end
  local before = pot and throttle_queue(bucket, 'lstrict', pot, now) or 0
  local available = math.floor(bucket.tokens / cost) - before
  if wanted == 0 then
    if available >= 1 or (pot and pot.held >= 1 and pot.starts <= now) then
      wait = 0
    else
      wait = math.max((bucket.since + math.ceil((cost - bucket.tokens) / bucket.refill)) * bucket.tick - now, 1)
    end
  elseif how == 1 then
    bucket.tokens = math.max(bucket.tokens - wanted * cost, floor)
    got = wanted
  elseif available >= wanted or (how == 3 and available >= 1) then
    got = math.min(wanted, available)
    bucket.tokens = bucket.tokens - got * cost
    if how == 2 then wait = 0 end
  elseif how == 2 then
    wait = (bucket.since + math.ceil((wanted * cost - bucket.tokens) / bucket.refill)) * bucket.tick - now
    -- While leases are out, what is promised must fit beside them: they may all be spent when it is due.
    if wait <= tonumber(ARGV[10]) and (bucket.out == 0 or bucket.out + bucket.promised + wanted <= bucket.burst) then
      got = wanted
      bucket.tokens = bucket.tokens - got * cost
      bucket.writes[#bucket.writes + 1] = 'a'
      bucket.writes[#bucket.writes + 1] = string.format('%.0f %.0f', bucket.promised + got, now + wait)
    end
  elseif pot then
    -- Leases are booked ahead of time, so there may never be a token left over: strict checks book as well, all of them
    -- together, and share what was put by for them.
    local least = how == 3 and 1 or wanted
    local fits = bucket.burst - bucket.out - bucket.promised - before
    if pot.held >= least and pot.starts <= now then
      got = math.min(pot.held, wanted)
      pot.held, pot.spent = pot.held - got, pot.spent + got
      bucket.out = bucket.out - got
    elseif pot.held >= least then
      wait = pot.starts - now
    elseif pot.held + fits >= least then
      local more = math.max(least, math.floor(bucket.refill * 10000 / (bucket.tick * cost))) - pot.held
      more = math.min(more, fits)
      bucket.tokens = bucket.tokens - more * cost
      bucket.out = bucket.out + more
      pot.held, pot.granted, pot.since, pot.till = pot.held + more, pot.granted + more, 0, 0
      pot.starts = (bucket.since + math.ceil(math.max(-bucket.tokens, 0) / bucket.refill)) * bucket.tick
      pot.ends = pot.starts + 1000000
      if bucket.ends == 0 or pot.ends < bucket.ends then bucket.ends = pot.ends end
      wait = math.max(pot.starts - now, 1)
    else
      wait = throttle_wait(bucket, pot, before, now)
    end
    pot.at = now / 1000000
    bucket.writes[#bucket.writes + 1] = 'lstrict'
    bucket.writes[#bucket.writes + 1] = throttle_lease_text(pot)
    changed = true
  end
  if got > 0 then
    taken, changed = taken + got, true
  end
end
if changed then
  throttle_save(bucket, now, field, string.format('%.0f %s %.0f %.0f', taken, ARGV[5], charged, now / 1000000))
end
if not wait then
  local short = math.max(wanted, 1) * cost - bucket.tokens
  wait = short > 0 and (bucket.since + math.ceil(short / bucket.refill)) * bucket.tick - now or 0
end
local missing = bucket.capacity - bucket.out * cost - bucket.tokens
local full = missing > 0 and (bucket.since + math.ceil(missing / bucket.refill)) * bucket.tick - now or 0
return { got, math.floor(bucket.tokens / cost), wait, full, taken, bucket.born, bucket.spec }
