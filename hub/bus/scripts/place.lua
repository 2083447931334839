-- Take one of so many places, unless all are taken. A place that nobody gives back is free again when its time is over.
-- KEYS: places   ARGV: a name no other request has, how many there are, milliseconds it is kept
-- Returns 1 or 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- Asked again because the answer was lost: it has its place already.
local is_known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not is_known and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
