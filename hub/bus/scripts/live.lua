-- Show something of a turn, unless its conversation is being erased, or it was.
-- KEYS: erased conversation, erased turn, deltas, and the turn's text so far where it lies in the same slot
-- ARGV: kind, text, seconds to keep the text so far, entries to keep, fields of the entry
-- Returns 1, or 0 when it was refused
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
if KEYS[4] and ARGV[1] == 'delta' then
  redis.call('APPEND', KEYS[4], ARGV[2])
  redis.call('EXPIRE', KEYS[4], ARGV[3])
elseif KEYS[4] then
  redis.call('DEL', KEYS[4])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
return 1
