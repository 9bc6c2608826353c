-- A lease as it is stored: sequence of the request it answers, tokens ever granted, held now, granted last, time it may
-- be spent from (us), time it is over (us), tokens ever spent, checks ever refused, time since which its member waits and
-- time until which it is waited for (us), tokens it waits for, time of its last request (s).
local function throttle_lease_text(lease)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f', lease.seq, lease.granted, lease.held,
    lease.last, lease.starts, lease.ends, lease.spent, lease.refused, lease.since, lease.till,
    lease.least, lease.at)
end
