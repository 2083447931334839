-- Accept a message once: stream for delivery, lane for order.
-- KEYS: stream, seen, lane, cancelled, origin, erased conversation, erased person
-- ARGV: lane name, body, max backlog, max lane, seconds to remember, '1' when it cancels all that stands before it
--       in its lane, seconds to remember that, seconds to remember its origin or '0', '1' when it is an edit of it
-- Returns {'OK', id, entries on the stream, entries in the lane}, both before it | {'DUPLICATE', id} |
--         {'FULL', entries on the stream} | {'LANE_FULL'} | {'ERASING'}
-- First of all: what was accepted before is being removed, and a repetition must not count as kept.
if redis.call('EXISTS', KEYS[6], KEYS[7]) > 0 then return {'ERASING'} end
local seen = redis.call('GET', KEYS[2])
if seen then return {'DUPLICATE', seen} end
local backlog, before = redis.call('XLEN', KEYS[1]), redis.call('LLEN', KEYS[3])
if backlog >= tonumber(ARGV[3]) then return {'FULL', backlog} end
local stops = ARGV[6] == '1'
-- A full lane is what somebody may want to stop; a few more fit into it for that.
if before >= tonumber(ARGV[4]) + (stops and 10 or 0) then return {'LANE_FULL'} end
-- Read before the first write: a script is not rolled back, and this fails where the key holds something else.
if stops then redis.call('HLEN', KEYS[4]) end
local entries = stops and redis.call('LRANGE', KEYS[3], 0, -1) or {}
local has_origin = ARGV[8] ~= '0'
local earlier = has_origin and ARGV[9] == '1' and redis.call('HGET', KEYS[5], 'latest')
local id = redis.call('XADD', KEYS[1], '*', 'lane', ARGV[1], 'body', ARGV[2])
redis.call('SET', KEYS[2], id, 'EX', ARGV[5])
redis.call('RPUSH', KEYS[3], id)
if cancel(KEYS[4], entries, ARGV[7]) > 0 then redis.call('HSET', KEYS[4], 'by:' .. id, #entries) end
if has_origin then
  redis.call('HSET', KEYS[5], 'latest', id)
  if earlier then
    redis.call('HSET', KEYS[5], id, earlier)
    -- What is not answered yet need not be.
    if redis.call('LPOS', KEYS[3], earlier) then cancel(KEYS[4], {earlier}, ARGV[7]) end
  end
  redis.call('EXPIRE', KEYS[5], ARGV[8])
end
return {'OK', id, backlog, before}
