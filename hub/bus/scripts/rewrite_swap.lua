-- Put the copy of a stream into its place. Ids, groups, pending marks and the time it has to live stay as they are; who
-- waits for entries or works on one notices nothing.
-- KEYS: stream, copy   ARGV: most entries that are looked at, at the beginning and at the end
-- Returns 'DONE' | 'MORE' entries came than are looked at | 'CHANGED': entries went from further behind
local most = tonumber(ARGV[1])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', most)
if #first == 0 then
  -- Gone meanwhile, or empty: then no block of it is left.
  redis.call('DEL', KEYS[2])
  return 'DONE'
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local fresh = redis.call('XRANGE', KEYS[1], last and '(' .. last[1] or '-', '+', 'COUNT', most + 1)
if #fresh > most then return 'MORE' end
for _, entry in ipairs(fresh) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end
-- What went since it was copied is mostly the oldest.
redis.call('XTRIM', KEYS[2], 'MINID', '=', first[1][1])
if redis.call('XLEN', KEYS[1]) ~= redis.call('XLEN', KEYS[2]) then
  local stays = {}
  for _, entry in ipairs(first) do stays[entry[1]] = true end
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', first[#first][1])) do
    if not stays[entry[1]] then redis.call('XDEL', KEYS[2], entry[1]) end
  end
  if redis.call('XLEN', KEYS[1]) ~= redis.call('XLEN', KEYS[2]) then return 'CHANGED' end
end
local function of(info, name)
  for i = 1, #info, 2 do
    if info[i] == name then return info[i + 1] end
  end
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local name = of(group, 'name')
  redis.call('XGROUP', 'CREATE', KEYS[2], name, of(group, 'last-delivered-id'))
  for _, one in ipairs(redis.call('XPENDING', KEYS[1], name, '-', '+', 1000000)) do
    redis.call('XCLAIM', KEYS[2], name, one[2], 0, one[1], 'IDLE', one[3], 'RETRYCOUNT', one[4], 'FORCE', 'JUSTID')
  end
end
redis.call('XSETID', KEYS[2], of(redis.call('XINFO', 'STREAM', KEYS[1]), 'last-generated-id'))
local left_ms = redis.call('PTTL', KEYS[1])
redis.call('RENAME', KEYS[2], KEYS[1])
if left_ms > 0 then redis.call('PEXPIRE', KEYS[1], left_ms) else redis.call('PERSIST', KEYS[1]) end
return 'DONE'
