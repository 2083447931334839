-- Read how far earlier senders of a reply have come. A request that left and was never answered is counted here, once.
-- KEYS: lease, sent   ARGV: fence
-- Returns the fields of the record, or false when another fence has taken over
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return false end
if redis.call('HGET', KEYS[2], 'state') == 'sending' then
  redis.call('HSET', KEYS[2], 'state', 'unclear')
  redis.call('HINCRBY', KEYS[2], 'unclear', 1)
end
return redis.call('HGETALL', KEYS[2])
