-- Put a dead letter back at the end of its lane, once.
-- KEYS: dead, stream, lane, replayed, seen of a message or record of a reply, origin, erased conversation, erased person
-- ARGV: letter, a name of this attempt, lane name, max backlog, max lane, seconds to remember the replay,
--       'message' or 'reply', seconds to remember the external key, seconds to remember the origin or '0',
--       the entry it had before
-- Returns {'OK', id} | {'REPLAYED', id} | {'MISSING'} | {'FULL'} | {'LANE_FULL'} | {'ERASING'}
local before = redis.call('HMGET', KEYS[4], 'by', 'entry')
-- Asked again because the answer was lost: it is done already.
if before[1] then return {before[1] == ARGV[2] and 'OK' or 'REPLAYED', before[2]} end
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return {'MISSING'} end
if redis.call('EXISTS', KEYS[7], KEYS[8]) > 0 then return {'ERASING'} end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[4]) then return {'FULL'} end
if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[5]) then return {'LANE_FULL'} end
-- Read before the first write: a script is not rolled back, and these fail where a key holds something else.
local is_reply, has_origin = ARGV[7] == 'reply', ARGV[9] ~= '0'
local sent = is_reply and redis.call('HMGET', KEYS[5], 'state', 'part') or {}
local origin = has_origin and redis.call('HMGET', KEYS[6], 'latest', ARGV[10]) or {}
local id = redis.call('XADD', KEYS[2], '*', 'lane', ARGV[3], 'body', field(letter[2], 'body'))
redis.call('RPUSH', KEYS[3], id)
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[4], 'by', ARGV[2], 'entry', id)
redis.call('EXPIRE', KEYS[4], ARGV[6])
if not is_reply then
  -- The channel that delivers it once more is told that it is there, under its new entry.
  redis.call('SET', KEYS[5], id, 'EX', ARGV[8])
elseif sent[1] == 'gave_up' and sent[2] and redis.call('HEXISTS', KEYS[5], 'placed:' .. sent[2]) == 0 then
  -- Nobody knows any more whether its last request was carried out: where the channel can tell, it is asked first.
  redis.call('HSET', KEYS[5], 'state', 'unclear')
  redis.call('EXPIRE', KEYS[5], ARGV[8])
end
if has_origin then
  -- An edit replaces what it replaced before, and what edits this message finds it.
  if origin[1] == ARGV[10] then redis.call('HSET', KEYS[6], 'latest', id) end
  if origin[2] then redis.call('HSET', KEYS[6], id, origin[2]) end
  if origin[1] then redis.call('EXPIRE', KEYS[6], ARGV[9]) end
end
return {'OK', id}
