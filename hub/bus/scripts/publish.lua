-- Accept a message once: stream for delivery, lane for order.
-- KEYS: stream, seen, lane   ARGV: lane name, body, max backlog, max lane, seconds to remember
-- Returns {'OK', id} | {'DUPLICATE', id} | {'FULL'} | {'LANE_FULL'}
local seen = redis.call('GET', KEYS[2])
if seen then return {'DUPLICATE', seen} end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then return {'FULL'} end
if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[4]) then return {'LANE_FULL'} end
local id = redis.call('XADD', KEYS[1], '*', 'lane', ARGV[1], 'body', ARGV[2])
redis.call('SET', KEYS[2], id, 'EX', ARGV[5])
redis.call('RPUSH', KEYS[3], id)
return {'OK', id}
