-- Add n to this member's count of one item and to the fleet's sum of it, if the sum then stays within a cap.
-- Done only when the member's last applied sequence is the one it believes, and the sequence stays as it is: so a take
-- that arrives after a later publish is refused, and an answer that gets lost is put right by the next publish.
-- What the member has of the item and has not published yet (events and policies do not ask) counts against the cap.
--
--   KEYS[1]  registry  hash: incarnation -> last applied sequence, or minus time of death (ms)
--   KEYS[2]  sums      hash: item -> sum over all members
--   KEYS[3]  copy      hash: item -> count of this member
--   ARGV[1]  incarnation
--   ARGV[2]  sequence the member believes was applied last, 0 at first
--   ARGV[3]  item
--   ARGV[4]  n, at least 1
--   ARGV[5]  cap, at least 0
--   ARGV[6]  what the member has of the item, published or not
--
--   Returns  {1 = taken, 0 = full, 2 = gap, -1 = fenced; sum now, last applied sequence, this member's count now}
--   Errors   none of our own

local known = redis.call('HGET', KEYS[1], ARGV[1])
local last = tonumber(known or '0')
if last < 0 then
  return { -1, 0, 0, 0 }
end
local sum = tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or '0')
local own = tonumber(redis.call('HGET', KEYS[3], ARGV[3]) or '0')
if last ~= tonumber(ARGV[2]) then
  return { 2, sum, last, own }
end
local n = tonumber(ARGV[4])
if sum + math.max(tonumber(ARGV[6]) - own, 0) + n > tonumber(ARGV[5]) then
  return { 0, sum, last, own }
end
if not known then
  -- The copy must not exist without an entry here: that is how the audit finds copies nobody owns.
  redis.call('HSET', KEYS[1], ARGV[1], 0)
end
redis.call('HINCRBY', KEYS[3], ARGV[3], ARGV[4])
redis.call('HINCRBY', KEYS[2], ARGV[3], ARGV[4])
return { 1, sum + n, last, own + n }
