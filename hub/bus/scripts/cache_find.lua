-- Look an answer up and count the look-up, in one step: hits and misses always add up to the look-ups.
-- KEYS: answer, counts
-- Returns the answer, or false
local found = redis.call('GET', KEYS[1])
redis.call('HINCRBY', KEYS[2], 'lookups', 1)
redis.call('HINCRBY', KEYS[2], found and 'hits' or 'misses', 1)
return found
