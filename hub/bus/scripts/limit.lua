-- Let a request in unless its window is full. Every request let in is a member of a sorted set, scored by its time,
-- so any span of one window's length holds at most `limit` of them.
-- KEYS: log   ARGV: limit, window in microseconds, a name no other request has
-- Returns {1 or 0, how many more may come now, microseconds until the oldest one leaves the window}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local used = redis.call('ZCARD', KEYS[1])
-- Asked again because the answer was lost: it is in already.
local allowed = redis.call('ZSCORE', KEYS[1], ARGV[3]) and 1 or 0
if allowed == 0 and used < limit then
  redis.call('ZADD', KEYS[1], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000) + 1000)
  used, allowed = used + 1, 1
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = oldest[2] and tonumber(oldest[2]) + window - now or 0
return {allowed, math.max(limit - used, 0), wait}
