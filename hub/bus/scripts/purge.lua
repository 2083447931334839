-- Remove entries of a lane as if they had never come. Whoever works on one of them finds its lease gone, and what it
-- would commit is refused; in a lane that others share, whoever works on one of theirs begins anew.
-- KEYS: stream, lane, lease, cancelled   ARGV: group, '1' when the whole lane goes, entries that go otherwise
-- Returns how many entries went
local entries = {unpack(ARGV, 3)}
if ARGV[2] == '1' then entries = redis.call('LRANGE', KEYS[2], 0, -1) end
local head, removed = redis.call('HGET', KEYS[3], 'head'), 0
for _, entry in ipairs(entries) do
  redis.call('LREM', KEYS[2], 0, entry)
  redis.pcall('XACK', KEYS[1], ARGV[1], entry)
  removed = removed + redis.call('XDEL', KEYS[1], entry)
  redis.call('HDEL', KEYS[4], entry, 'by:' .. entry)
  if entry == head then
    redis.call('HDEL', KEYS[3], 'owner', 'expires', 'fence', 'head', 'attempts', 'retries', 'crashes')
  end
end
if ARGV[2] == '1' then
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
elseif redis.call('HEXISTS', KEYS[3], 'fence') == 1 then
  -- Another's message is worked on with what was remembered before: it is begun anew, and no attempt has failed.
  redis.call('HDEL', KEYS[3], 'owner', 'expires', 'fence')
  redis.call('HINCRBY', KEYS[3], 'attempts', -1)
end
return removed
