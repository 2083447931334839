-- Let a request in unless one of its windows is full. Every request let in is a member of a sorted set for each, scored
-- by its time, so any span of one window's length holds at most `limit` of them. It counts in all of them or in none.
-- KEYS: logs   ARGV: a name no other request has, then for each log: limit, window in microseconds
-- Returns {1 or 0, then for each log: how many more may come now, microseconds until the oldest one leaves the window}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local name, allowed, used = ARGV[1], 1, {}
for at, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - tonumber(ARGV[2 * at + 1]))
  used[at] = redis.call('ZCARD', key)
  -- Asked again because the answer was lost: it is in already.
  if used[at] >= tonumber(ARGV[2 * at]) and not redis.call('ZSCORE', key, name) then
    allowed = 0
  end
end
local told = {allowed}
for at, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * at]), tonumber(ARGV[2 * at + 1])
  if allowed == 1 and redis.call('ZADD', key, 'NX', now, name) == 1 then
    redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
    used[at] = used[at] + 1
  end
  local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  told[#told + 1] = math.max(limit - used[at], 0)
  told[#told + 1] = oldest[2] and tonumber(oldest[2]) + window - now or 0
end
return told
