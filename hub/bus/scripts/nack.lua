-- Give the head back; it stays first, and nobody enters the lane before the delay is over.
-- KEYS: lease, stream   ARGV: fence, delay ms, '1' when this attempt counts against the message, group, lease ms
-- Returns 1, or 0 when another fence has taken over
local lease = redis.call('HMGET', KEYS[1], 'fence', 'owner', 'head')
if lease[1] ~= ARGV[1] then return 0 end
if ARGV[3] ~= '1' then
  redis.call('HINCRBY', KEYS[1], 'attempts', -1)
  redis.call('HINCRBY', KEYS[1], 'retries', 1)
end
redis.call('HSET', KEYS[1], 'owner', '', 'fence', '0', 'expires', now_ms() + tonumber(ARGV[2]))
-- Stale as soon as the delay is over: whoever looks then goes on, even if the one that gave it back is gone.
-- Without this the others, who once were told BUSY, would look again only a whole lease after they read it.
redis.pcall('XCLAIM', KEYS[2], ARGV[4], lease[2], 0, lease[3],
  'IDLE', math.max(0, tonumber(ARGV[5]) - tonumber(ARGV[2])), 'JUSTID')
return 1
