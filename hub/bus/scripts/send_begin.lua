-- Record that the request for one part of a reply is about to leave, and hold its destination for a lease from now on.
-- KEYS: lease, sent   ARGV: fence, part, seconds to remember, destination, lease ms
-- Returns 1, or 0 when another fence has taken over
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'expires', now_ms() + tonumber(ARGV[5]))
redis.call('HSET', KEYS[2], 'state', 'sending', 'part', ARGV[2], 'lane', ARGV[4])
redis.call('HINCRBY', KEYS[2], 'attempts', 1)
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
