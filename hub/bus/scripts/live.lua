-- Show something of a turn, unless its conversation is being erased.
-- KEYS: erased, deltas, and the turn's text so far where it lies in the same slot
-- ARGV: kind, text, seconds to keep the text so far, entries to keep, fields of the entry
-- Returns 1, or 0 when it was refused
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if KEYS[3] and ARGV[1] == 'delta' then
  redis.call('APPEND', KEYS[3], ARGV[2])
  redis.call('EXPIRE', KEYS[3], ARGV[3])
elseif KEYS[3] then
  redis.call('DEL', KEYS[3])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
return 1
