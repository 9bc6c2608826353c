-- Add one batch of a member's changes to one window of an audit series, in one shard: to the fleet's counts and to those of the
-- member's node. A source numbers its batches; one that was applied before changes nothing, and one whose
-- forerunner is missing (the server forgot it) is answered with the last number the server has.
--
--   KEYS[1]  registry  hash: source -> "<last applied number> <server ms> <node>"
--   KEYS[2]  window    hash: field -> count, or packed node (includes/packed_tree.lua): all nodes together
--   KEYS[3]  part      hash: the same, of one node
--   ARGV[1]  source: one life of a process
--   ARGV[2]  number of its batch before this one, 0 at first
--   ARGV[3]  number of this batch, larger
--   ARGV[4]  server ms at which the window is over for good
--   ARGV[5]  ms after which a source that sent nothing is forgotten; no batch it could still send would count
--   ARGV[6]  node
--   ARGV[7..] field, change, repeated (at most 2000 pairs): a whole number in decimal; or a byte 0, a byte with the length of the keys
--            (plus 128 to keep the tree one leaf), a byte with the width of the changes, the keys, the changes
--
--   Returns  {1 = applied, now or before; 2 = too late, the window is over; 0 = gap, last applied number, server ms}
--   Errors   none of our own

--- @include "server_ms"
--- @include "packed_tree"
local now = server_ms()
local entry = redis.call('HGET', KEYS[1], ARGV[1])
local last = entry and tonumber(string.match(entry, '^%d+')) or 0
local number = tonumber(ARGV[3])
if number <= last then
  return { 1, last, now }
elseif last ~= tonumber(ARGV[2]) then
  return { 0, last, now }
end

local state = string.format('%.0f %.0f %s', number, now, ARGV[6])
local ends = tonumber(ARGV[4])
if redis.call('HSET', KEYS[1], ARGV[1], state) == 1 then
  local sources = redis.call('HGETALL', KEYS[1])
  for i = 1, #sources, 2 do
    local since = tonumber(string.match(sources[i + 1], '^%d+ (%d+)'))
    if since and now - since > tonumber(ARGV[5]) then
      redis.call('HDEL', KEYS[1], sources[i])
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ends <= now then
  return { 2, number, now }
end

local copies = {
  function(field) return redis.call('HGET', KEYS[2], field) end,
  function(field) return redis.call('HGET', KEYS[3], field) end,
}
local loaded = { {}, {} }
for i = 7, #ARGV, 2 do
  local field, change = ARGV[i], ARGV[i + 1]
  if string.byte(change, 1) ~= 0 then
    redis.call('HINCRBY', KEYS[2], field, change)
    redis.call('HINCRBY', KEYS[3], field, change)
  else
    local size, width = string.byte(change, 2, 3)
    local whole = size >= 128
    if whole then size = size - 128 end
    local count = (#change - 3) / (size + width)
    local keys_end = 3 + count * size
    for copy = 1, 2 do
      local nodes, read = loaded[copy], copies[copy]
      for index = 0, count - 1 do
        local at = 4 + index * size
        packed_add(
          nodes,
          read,
          field,
          string.sub(change, at, at + size - 1),
          (struct.unpack(FORMATS[width], change, keys_end + 1 + index * width)),
          whole
        )
      end
    end
  end
end
for copy = 1, 2 do
  local fields = {}
  for field, node in pairs(loaded[copy]) do
    if node.changed then
      fields[#fields + 1] = field
      fields[#fields + 1] = packed_text(node)
    end
  end
  for first = 1, #fields, 4000 do
    local upto = math.min(first + 3999, #fields)
    if copy == 1 then
      redis.call('HSET', KEYS[2], unpack(fields, first, upto))
    else
      redis.call('HSET', KEYS[3], unpack(fields, first, upto))
    end
  end
end
redis.call('PEXPIREAT', KEYS[2], ARGV[4])
redis.call('PEXPIREAT', KEYS[3], ARGV[4])
return { 1, number, now }
