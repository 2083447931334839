-- Keep a lease alive.
-- KEYS: lease   ARGV: fence, lease ms
-- Returns 1, or 0 when another fence has taken over
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'expires', now_ms() + tonumber(ARGV[2]))
return 1
