-- Register audit series. What is registered stays as it is: the answer tells the spec in force of each series.
--
--   KEYS[1]  series  hash: audit series -> spec (JSON)
--   ARGV[1..] series, spec (JSON), repeated
--
--   Returns  {spec in force of the first series, of the second, ...}
--   Errors   none of our own

local answer = {}
for i = 1, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
  answer[#answer + 1] = redis.call('HGET', KEYS[1], ARGV[i])
end
return answer
