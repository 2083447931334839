-- Give the head back; it stays first, and nobody enters the lane before the delay is over.
-- KEYS: lease   ARGV: fence, delay ms, '1' when this attempt counts against the message
-- Returns 1, or 0 when another fence has taken over
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
if ARGV[3] ~= '1' then
  redis.call('HINCRBY', KEYS[1], 'attempts', -1)
  redis.call('HINCRBY', KEYS[1], 'retries', 1)
end
redis.call('HSET', KEYS[1], 'owner', '', 'fence', '0', 'expires', now_ms() + tonumber(ARGV[2]))
return 1
