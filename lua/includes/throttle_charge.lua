-- Charge what a member let pass by itself: `debt` is all it ever did, `charged` what of it was charged before. A repeated or
-- late question charges nothing twice. Below zero by one capacity at most. Answers what is charged now.
local function throttle_charge(bucket, debt, charged)
  if debt > charged then
    bucket.tokens =
      math.max(bucket.tokens - (debt - charged) * bucket.cost, math.min(bucket.tokens, -bucket.capacity))
    return debt
  end
  return charged
end
