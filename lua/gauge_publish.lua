-- Set a member's counts in one shard to absolute values and add the differences to the fleet's sums.
-- Applied only when the member's last applied sequence is the one it believes: a repetition changes nothing, and
-- what arrives late or after the server forgot something is answered with the sequence the server has.
--
--   KEYS[1]  registry  hash: incarnation -> last applied sequence, or minus time of death (ms)
--   KEYS[2]  sums      hash: item -> sum over all members
--   KEYS[3]  copy      hash: item -> count of this member
--   ARGV[1]  incarnation
--   ARGV[2]  sequence the member believes was applied last, 0 at first
--   ARGV[3]  sequence of this call, larger
--   ARGV[4..] item, count, repeated; an empty count forgets the item (at most 1000 pairs)
--
--   Returns  {1 = applied, or again an applied one; 0 = gap; -1 = fenced, last applied sequence}
--   Errors   none of our own

local last = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local sequence = tonumber(ARGV[3])
if last < 0 then
  return { -1, 0 }
elseif last == sequence then
  return { 1, last }
elseif last ~= tonumber(ARGV[2]) then
  return { 0, last }
end

-- Counters of our own: '#' searches for a table's end each time.
local items, n = {}, 0
for i = 4, #ARGV, 2 do
  n = n + 1
  items[n] = ARGV[i]
end
if n > 0 then
  local olds = redis.call('HMGET', KEYS[3], unpack(items))
  local sums = redis.call('HMGET', KEYS[2], unpack(items))
  local copy_set, copy_del, sum_set, sum_del = {}, {}, {}, {}
  local cs, cd, ss, sd = 0, 0, 0, 0
  for i = 1, n do
    local item, text, old, known = items[i], ARGV[2 * i + 3], olds[i], sums[i]
    if text == '' then
      cd = cd + 1
      copy_del[cd] = item
      local sum = (known or 0) - (old or 0)
      if sum == 0 then
        sd = sd + 1
        sum_del[sd] = item
      else
        sum_set[ss + 1], sum_set[ss + 2] = item, sum
        ss = ss + 2
      end
    elseif text ~= old or not known then
      copy_set[cs + 1], copy_set[cs + 2] = item, text
      cs = cs + 2
      sum_set[ss + 1], sum_set[ss + 2] = item, (known or 0) + text - (old or 0)
      ss = ss + 2
    end
  end
  if cs > 0 then redis.call('HSET', KEYS[3], unpack(copy_set)) end
  if cd > 0 then redis.call('HDEL', KEYS[3], unpack(copy_del)) end
  if ss > 0 then redis.call('HSET', KEYS[2], unpack(sum_set)) end
  if sd > 0 then redis.call('HDEL', KEYS[2], unpack(sum_del)) end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return { 1, sequence }
