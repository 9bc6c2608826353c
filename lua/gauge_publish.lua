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

local items = {}
for i = 4, #ARGV, 2 do
  items[#items + 1] = ARGV[i]
end
if #items > 0 then
  local olds = redis.call('HMGET', KEYS[3], unpack(items))
  local sums = redis.call('HMGET', KEYS[2], unpack(items))
  local copy_set, copy_del, sum_set, sum_del = {}, {}, {}, {}
  for i = 1, #items do
    local item, text = items[i], ARGV[2 * i + 3]
    local old = olds[i] or '0'
    if text == '' then
      copy_del[#copy_del + 1] = item
    elseif text ~= olds[i] then
      copy_set[#copy_set + 1] = item
      copy_set[#copy_set + 1] = text
    end
    local sum = tonumber(sums[i] or '0') + (tonumber(text) or 0) - old
    if sum == 0 and text == '' then
      sum_del[#sum_del + 1] = item
    elseif text ~= old or not sums[i] then
      sum_set[#sum_set + 1] = item
      sum_set[#sum_set + 1] = sum
    end
  end
  if #copy_set > 0 then redis.call('HSET', KEYS[3], unpack(copy_set)) end
  if #copy_del > 0 then redis.call('HDEL', KEYS[3], unpack(copy_del)) end
  if #sum_set > 0 then redis.call('HSET', KEYS[2], unpack(sum_set)) end
  if #sum_del > 0 then redis.call('HDEL', KEYS[2], unpack(sum_del)) end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return { 1, sequence }
