-- Write a stream anew, in place: Redis only marks a deleted entry, whose bytes stay among its neighbours in memory and
-- in every file. Ids, groups and pending marks stay as they are; who waits for entries notices nothing.
-- KEYS: stream   ARGV: '1' to make it again with its groups, as where a server lets nothing be put before its last id
-- Returns how many entries it holds
local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
local lowered = ARGV[1] ~= '1' and redis.pcall('XSETID', KEYS[1], '0-0')
if not lowered or lowered.err then
  local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
  local pending = {}
  for n, group in ipairs(groups) do
    local name = group[2]
    pending[n] = redis.call('XPENDING', KEYS[1], name, '-', '+', 1000000)
  end
  redis.call('DEL', KEYS[1])
  for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) end
  for n, group in ipairs(groups) do
    local name, delivered = group[2], '0-0'
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
    end
    redis.call('XGROUP', 'CREATE', KEYS[1], name, delivered, 'MKSTREAM')
    for _, one in ipairs(pending[n]) do
      redis.call('XCLAIM', KEYS[1], name, one[2], 0, one[1], 'IDLE', one[3], 'RETRYCOUNT', one[4], 'FORCE', 'JUSTID')
    end
  end
else
  for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) end
end
redis.call('XSETID', KEYS[1], last)
return #entries
