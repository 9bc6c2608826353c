-- Read a member's record of strict checks: tokens taken, checks refused, tokens it let pass by itself and that were charged,
-- time of the last news (s). Without one, a record of nothing.
local function throttle_strict_read(text)
  local taken, refused, charged, at = string.match(text or '0 0 0 0', '^(%d+) (%d+) (%d+) (%d+)$')
  return taken + 0, refused, charged + 0, at + 0
end
