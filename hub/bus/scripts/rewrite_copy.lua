-- Copy the next entries of a stream behind those that were copied before. Redis only marks a deleted entry, whose
-- bytes stay among its neighbours in memory and in every file; the copy holds what is not deleted and nothing else.
-- KEYS: stream, copy   ARGV: most entries
-- Returns how many were copied
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local entries = redis.call('XRANGE', KEYS[1], last and '(' .. last[1] or '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end
return #entries
