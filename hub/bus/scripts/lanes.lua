-- Tell the lanes of pending entries without their bodies.
-- KEYS: stream   ARGV: group, entries...
-- Returns for each entry its lane ('' where it names none), or false where it is no longer on the stream; the
-- pending mark of such an entry is of no use and goes.
local lanes = {}
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  lanes[i - 1] = entry and (field(entry[2], 'lane') or '') or false
  if not entry then redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) end
end
return lanes
