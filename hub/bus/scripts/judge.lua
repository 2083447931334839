-- Record what a person thinks of an answer, once for each change.
-- KEYS: judgements of the turn, events   ARGV: person, value (empty takes it back), seconds to keep, events to keep,
--       fields of the event
-- Returns 1 when it is news
local known = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if known == ARGV[2] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
return 1
