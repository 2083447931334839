-- Enter a conversation: lease it and get its head, whichever of its entries was delivered.
-- KEYS: stream, lane, lease, fence, dead, source of the fence   ARGV: group, entry, owner, lease ms, attempt limit, queue, lane name
-- Returns {'RUN', head, fence, attempts, retries, crashes, body} | {'BUSY', ms} | {'DONE'}
local now = now_ms()
if not redis.call('LPOS', KEYS[2], ARGV[2]) then
  -- A commit removes the entry with its place in the lane: one that is still here never had a place.
  local entry, is_id = entry_of(KEYS[1], ARGV[2])
  if entry then
    redis.call('XADD', KEYS[5], '*', 'queue', ARGV[6], 'lane', ARGV[7], 'entry', ARGV[2], 'attempts', 0,
      'reason', 'the entry stands in no lane', 'body', field(entry[2], 'body') or '')
    redis.call('XDEL', KEYS[1], ARGV[2])
  end
  -- What is no id was found at the head of the lane, where its bytes need not be a text: the lane is entered for it.
  if is_id then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
    return {'DONE'}
  end
end
local lease = redis.call('HMGET', KEYS[3], 'owner', 'expires')
if lease[1] and lease[1] ~= ARGV[3] and tonumber(lease[2]) > now then
  return {'BUSY', tonumber(lease[2]) - now}
end
local k = {stream = KEYS[1], lane = KEYS[2], lease = KEYS[3], fence = KEYS[4], dead = KEYS[5],
  fence_source = KEYS[6],
  queue = ARGV[6], name = ARGV[7]}
return take_head(k, ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[1], now) or {'DONE'}
