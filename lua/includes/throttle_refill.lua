-- Let tokens come back until a tick. What is leased out counts as if it were in the bucket: tokens + leases never exceed
-- the capacity. A clock that stepped back brings nothing, and goes on from there.
local function throttle_refill(bucket, upto)
  local room = bucket.capacity - bucket.out * bucket.cost - bucket.tokens
  if upto > bucket.since and room > 0 then
    bucket.tokens = bucket.tokens + math.min(room, (upto - bucket.since) * bucket.refill)
  end
  bucket.since = upto
end
