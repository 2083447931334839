-- Tell the lanes of pending entries without their bodies.
-- KEYS: stream   ARGV: group, entries...
-- Returns for each entry its lane ('' where it names none), false where it is no longer on the stream, or 1 where it was
-- done since it was listed; the pending mark of an entry that is not on the stream is of no use and goes.
local lanes = {}
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    lanes[i - 1] = field(entry[2], 'lane') or ''
  else
    -- Who had finished it has taken its mark away as well.
    lanes[i - 1] = redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 0 and 1
  end
end
return lanes
