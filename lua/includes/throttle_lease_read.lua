-- Read a stored lease; without one, a lease of nothing.
local function throttle_lease_read(text)
  local seq, granted, held, last, starts, ends, spent, refused, since, till, least, at = string.match(
    text or '0 0 0 0 0 0 0 0 0 0 0 0', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return {
    seq = seq + 0, granted = granted + 0, held = held + 0, last = last + 0, starts = starts + 0, ends = ends + 0,
    spent = spent + 0, refused = refused + 0, since = since + 0, till = till + 0, least = least + 0,
    at = at + 0,
  }
end
