-- Record that the peer certainly did nothing with the last request.
-- KEYS: lease, sent   ARGV: fence, part that was unclear before that request or ''
-- Returns 1, or 0 when another fence has taken over
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], 'state') == 'sending' then
  if ARGV[2] == '' then
    redis.call('HSET', KEYS[2], 'state', 'queued')
  else
    redis.call('HSET', KEYS[2], 'state', 'unclear', 'part', ARGV[2])
  end
end
return 1
