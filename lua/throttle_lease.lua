-- Lease tokens to a member, which then spends them without asking, until the lease is over.
-- Settles the lease before: what the member does not hold any more is spent, what it gives back is in the bucket again.
-- When nothing is left the lease is booked ahead: its tokens come back by the time it may be spent from, in the order in
-- which members asked, so none of them starves.
--
--   KEYS[1]  bucket   hash, see includes/throttle_open.lua
--   ARGV[1]  spec the bucket gets if it is new, see throttle_take
--   ARGV[2]  who asks, one name for the whole life of a process
--   ARGV[3]  birth of the bucket as the member knows it (us), or empty
--   ARGV[4]  number of this request, larger than any before
--   ARGV[5]  tokens this member was granted since the birth, as far as it had the answers
--   ARGV[6]  tokens it holds unspent
--   ARGV[7]  of these, how many it gives back
--   ARGV[8]  checks this member refused since it lives
--   ARGV[9]  tokens it ever let pass by itself while the server was away
--   ARGV[10] how many of these it knows to be charged
--   ARGV[11] tokens wanted, 0 for none
--   ARGV[12] tokens of a fair turn: what it gets of the tokens left whatever its share, and books ahead when none is left
--   ARGV[13] share of the tokens left that one lease may take (0 to 1)
--   ARGV[14] us from the time it may be spent from until the lease is over
--   ARGV[15] tokens without which it wants none: what a caller waits for
--
--   Returns  {1 = settled or -1 = an older request that came late, tokens granted now, us until all that is held may be
--             spent, us until asking again makes sense, tokens of the earlier lease that are still good, tokens left in the
--             bucket, us until full, tokens ever granted, birth, spec in force}
--   Errors   none of our own

--- @include "server_us"
--- @include "throttle_charge"
--- @include "throttle_open"
--- @include "throttle_queue"
--- @include "throttle_save"
--- @include "throttle_strict_read"
--- @include "throttle_wait"
local now = server_us()
local field = 'l' .. ARGV[2]
local bucket = throttle_open(ARGV[1], now, field)
local cost = bucket.cost
local lease = throttle_lease_read(bucket.record)
local seq, known, held = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local status, again = 1, 0
if seq < lease.seq then
  status = -1
elseif seq > lease.seq then
  local floor = math.min(bucket.tokens, -bucket.capacity)
  if ARGV[3] ~= bucket.born then
    -- Another bucket than the member's: it was lost, or reset. What the member holds comes out of this one.
    bucket.tokens = bucket.tokens - (held - lease.held) * cost
    bucket.out = bucket.out + held - lease.held
    lease.held, lease.granted = held, known
  elseif known > lease.granted then
    local lost = known - lease.granted
    bucket.tokens = math.max(bucket.tokens - lost * cost, floor)
    bucket.out = bucket.out + lost
    lease.held, lease.granted = lease.held + lost, known
  elseif known < lease.granted then
    -- The answer to the request before never came, so none of its tokens can have been spent.
    local back = math.min(lease.granted - known, lease.held)
    bucket.tokens = bucket.tokens + back * cost
    bucket.out = bucket.out - back
    lease.held, lease.granted = lease.held - back, known
  end
  held = math.min(held, lease.held)
  local back = math.min(tonumber(ARGV[7]), held)
  lease.spent = lease.spent + lease.held - held
  bucket.out = bucket.out - (lease.held - held) - back
  bucket.tokens = bucket.tokens + back * cost
  lease.held = held - back
  local debt, paid = tonumber(ARGV[9]), tonumber(ARGV[10])
  if debt > paid then
    local name = 'k' .. ARGV[2]
    local taken, refused, charged = throttle_strict_read(redis.call('HGET', KEYS[1], name))
    charged = throttle_charge(bucket, debt, math.max(charged, paid))
    bucket.writes[#bucket.writes + 1] = name
    bucket.writes[#bucket.writes + 1] = string.format('%.0f %s %.0f %.0f', taken, refused, charged, now / 1000000)
  end

  local wanted, grant = tonumber(ARGV[11]), 0
  if wanted > 0 then
    local before = throttle_queue(bucket, field, lease, now)
    local available = math.floor(bucket.tokens / cost) - before
    -- More than the bucket holds must never be out at once.
    local fits = bucket.burst - bucket.out - bucket.promised - before
    local least = math.max(tonumber(ARGV[15]), 1)
    local turn = math.min(wanted, math.max(tonumber(ARGV[12]), least), fits)
    -- The crumbs of an empty bucket are handed out once; whoever comes back for more books a whole turn, else a busy
    -- member would fetch each token as it drips.
    if available >= least and (available >= turn or lease.last >= turn) then
      grant = math.min(wanted, math.max(math.floor(available * ARGV[13]), math.min(available, turn)))
    elseif fits >= least then
      grant = turn
    end
    if grant > 0 then
      bucket.tokens = bucket.tokens - grant * cost
      bucket.out = bucket.out + grant
      lease.since, lease.till, lease.least = 0, 0, 0
    else
      lease.least = least
      again = throttle_wait(bucket, lease, before + least - 1, now)
    end
  end
  -- All that is promised is covered when the debt is paid; what came back unexpectedly makes that earlier.
  local covered = now
  if bucket.tokens < 0 then
    covered = (bucket.since + math.ceil(-bucket.tokens / bucket.refill)) * bucket.tick
  end
  if grant > 0 or covered < lease.starts then lease.starts = covered end
  lease.seq, lease.last, lease.refused, lease.at = seq, grant, tonumber(ARGV[8]), now / 1000000
  lease.granted, lease.held = lease.granted + grant, lease.held + grant
  if lease.held > 0 then
    lease.ends = math.max(lease.starts, now) + ARGV[14]
    if bucket.ends == 0 or lease.ends < bucket.ends then bucket.ends = lease.ends end
  end
  throttle_save(bucket, now, field, throttle_lease_text(lease))
end
local missing = bucket.capacity - bucket.out * cost - bucket.tokens
local full = missing > 0 and (bucket.since + math.ceil(missing / bucket.refill)) * bucket.tick - now or 0
return {
  status, lease.last, math.max(lease.starts - now, 0), again, math.max(lease.held - lease.last, 0),
  math.floor(bucket.tokens / cost), full, lease.granted, bucket.born, bucket.spec,
}
