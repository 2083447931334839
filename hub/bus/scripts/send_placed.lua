-- Record the peer's id of a part it has confirmed. Written even by a sender that lost its lease: it is a fact.
-- KEYS: sent   ARGV: part, remote id, seconds to remember
-- Returns 1, or 0 when the record has been erased since the request left
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'placed:' .. ARGV[1], ARGV[2])
if redis.call('HGET', KEYS[1], 'part') == ARGV[1] then redis.call('HSET', KEYS[1], 'state', 'placed') end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
