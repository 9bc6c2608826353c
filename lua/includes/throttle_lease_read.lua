-- Read a stored lease; without one, a lease of nothing.
local function throttle_lease_read(text)
  local seq, granted, held, last, starts, ends, spent, refused, since, till, at = string.match(
    text or '0 0 0 0 0 0 0 0 0 0 0', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return {
    seq = tonumber(seq), granted = tonumber(granted), held = tonumber(held), last = tonumber(last),
    starts = tonumber(starts), ends = tonumber(ends), spent = tonumber(spent), refused = tonumber(refused),
    since = tonumber(since), till = tonumber(till), at = tonumber(at),
  }
end
