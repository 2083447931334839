-- Cancel one entry of a lane, or all that stand in it now. What has been done already is left alone.
-- KEYS: lane, cancelled   ARGV: entry or '' for all, seconds to remember
-- Returns the entries that stand there and are cancelled
local entries = ARGV[1] == '' and redis.call('LRANGE', KEYS[1], 0, -1) or {ARGV[1]}
if ARGV[1] ~= '' and not redis.call('LPOS', KEYS[1], ARGV[1]) then return {} end
cancel(KEYS[2], entries, ARGV[2])
return entries
