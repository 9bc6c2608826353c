-- Counts of byte strings of one length, as a tree of packed nodes in the fields of one hash. See docs/architecture.md,
-- "Packed trees"; sharedstate/audit/packed.py reads the same form.
--
-- A node's field is the tree's root field and the bytes that its entries have in common. Its value is one header byte
-- (bytes of a count: 1, 2, 4 or 8; plus 16 for a branch), then the entries' keys side by side, then their counts, signed and
-- little-endian, in the same order. A leaf's keys are the rest of the entries' bytes. A branch's keys are one byte, its counts the
-- sums of the nodes below. A leaf that outgrows LEAF_ENTRIES becomes a branch with a leaf for each leading byte.
local LEAF_ENTRIES = 128
-- Counts stop at plus and minus 2^53, which is as far as Lua's numbers are exact.
local FORMATS = { [1] = '<i1', [2] = '<i2', [4] = '<i4', [8] = '<i8' }
local REACH = { [1] = 127, [2] = 32767, [4] = 2147483647, [8] = 9007199254740992 }

-- The node with the text of its hash field, its keys `size` bytes each (a branch's: 1); an empty leaf when there is none.
local function packed_node(text, size)
  if not text then
    return { width = 1, keys = '', counts = '' }
  end
  local head = string.byte(text, 1)
  local node = { width = head % 16, branch = head >= 16 }
  if node.branch then size = 1 end
  local split = 1 + (#text - 1) / (size + node.width) * size
  node.keys = string.sub(text, 2, split)
  node.counts = string.sub(text, split + 1)
  return node
end

local function packed_text(node)
  return string.char(node.width + (node.branch and 16 or 0)) .. node.keys .. node.counts
end

local function packed_widen(node, value)
  local width = node.width
  while value > REACH[width] or value < -REACH[width] do
    width = width * 2
  end
  if width ~= node.width then
    local from, to, parts = FORMATS[node.width], FORMATS[width], {}
    for at = 1, #node.counts, node.width do
      parts[#parts + 1] = struct.pack(to, (struct.unpack(from, node.counts, at)))
    end
    node.counts, node.width = table.concat(parts), width
  end
end

local function packed_exact(value)
  return math.max(-REACH[8], math.min(REACH[8], value))
end

-- Add a change to one entry of a node.
local function packed_bump(node, key, change)
  local size, at, init = #key, nil, 1
  repeat
    at = string.find(node.keys, key, init, true)
    init = (at or 0) + 1
  until not at or (at - 1) % size == 0
  if not at then
    if change > REACH[node.width] or change < -REACH[node.width] then packed_widen(node, change) end
    node.keys = node.keys .. key
    node.counts = node.counts .. struct.pack(FORMATS[node.width], change)
    return
  end
  local place = (at - 1) / size
  local value = packed_exact(struct.unpack(FORMATS[node.width], node.counts, place * node.width + 1) + change)
  if value > REACH[node.width] or value < -REACH[node.width] then packed_widen(node, value) end
  local width = node.width
  node.counts = string.sub(node.counts, 1, place * width)
    .. struct.pack(FORMATS[width], value)
    .. string.sub(node.counts, (place + 1) * width + 1)
end

-- Turn a leaf that grew too large into a branch, its entries into leaves below it.
local function packed_split(nodes, field, node, size)
  local keys, counts, width = node.keys, node.counts, node.width
  node.branch, node.keys, node.counts = true, '', ''
  for index = 0, #keys / size - 1 do
    local key = string.sub(keys, index * size + 1, (index + 1) * size)
    local value = struct.unpack(FORMATS[width], counts, index * width + 1)
    local first = string.sub(key, 1, 1)
    packed_bump(node, first, value)
    local below = nodes[field .. first]
    if not below then
      below = { width = 1, keys = '', counts = '' }
      nodes[field .. first] = below
    end
    below.changed = true
    packed_bump(below, string.sub(key, 2), value)
  end
  if size > 2 then
    for at = 1, #node.keys do
      local name = field .. string.sub(node.keys, at, at)
      if #nodes[name].keys > LEAF_ENTRIES * (size - 1) then
        packed_split(nodes, name, nodes[name], size - 1)
      end
    end
  end
end

-- Add a change to one entry of the tree at `field`. `read` fetches the text of a field, `nodes` keeps what was fetched;
-- whole = true keeps the tree one leaf, whatever its size.
local function packed_add(nodes, read, field, key, change, whole)
  while true do
    local node = nodes[field]
    if not node then
      node = packed_node(read(field), #key)
      nodes[field] = node
    end
    node.changed = true
    if not node.branch then
      packed_bump(node, key, change)
      if #key > 1 and not whole and #node.keys > LEAF_ENTRIES * #key then
        packed_split(nodes, field, node, #key)
      end
      return
    end
    local first = string.sub(key, 1, 1)
    packed_bump(node, first, change)
    field, key = field .. first, string.sub(key, 2)
  end
end
