-- Everything about the fleet at one moment. Reads only.
--
--   KEYS[1]  live     zset: incarnation -> server ms until which it is live
--   KEYS[2]  dying    zset: incarnation -> server ms until which its reaper has it
--   KEYS[3]  members  hash: incarnation -> "<joined ms> <record>"
--   KEYS[4]  objects  hash: object name -> spec (JSON)
--
--   Returns  {server ms, {incarnation, live until ms, ...}, {dying incarnation, ...}, {incarnation, record, ...},
--             {object name, spec, ...}}
--   Errors   none of our own

--- @include "server_ms"
return {
  server_ms(),
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[2], 0, -1),
  redis.call('HGETALL', KEYS[3]),
  redis.call('HGETALL', KEYS[4]),
}
