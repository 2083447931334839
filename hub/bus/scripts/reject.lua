-- Move an entry that no consumer can read to the dead letters.
-- KEYS: stream, dead   ARGV: group, entry, queue, reason
-- Returns 1, or 0 when it was gone already
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
  redis.call('XADD', KEYS[2], '*', 'queue', ARGV[3], 'lane', '', 'entry', ARGV[2], 'attempts', 0,
    'reason', ARGV[4], 'body', cjson.encode(entry[2]))
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return entry and 1 or 0
