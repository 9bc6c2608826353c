-- Server time in whole milliseconds. TIME advances inside a script on Redis 7.0: read it once.
local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
