-- Server time in whole microseconds. TIME advances inside a script on Redis 7.0: read it once.
local function server_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
