-- Finish the head: write all its effects, remove it and hand over the next one, in one step.
-- KEYS: stream, lane, lease, fence, dead, source of the fence, cancelled, then the keys of the effects
-- ARGV: group, head, fence, owner, lease ms, attempt limit, queue, lane name, dead-letter reason or '',
--       '1' to refuse when the head was cancelled,
--       then for each effect: its name, index of its first key, number of arguments, the arguments
-- Returns {'RUN', head, fence, attempts, retries, crashes, body} | {'IDLE'} | {'FENCED'} | {'CANCELLED'}
local FIRST_EFFECT = 11
local now = now_ms()
local k = {stream = KEYS[1], lane = KEYS[2], lease = KEYS[3], fence = KEYS[4], dead = KEYS[5],
  fence_source = KEYS[6],
  queue = ARGV[7], name = ARGV[8]}
local group, head, owner = ARGV[1], ARGV[2], ARGV[4]
local mark = head .. ':' .. ARGV[3]
local lease = redis.call('HMGET', k.lease, 'fence', 'done', 'owner')
local again = lease[2] == mark

-- Every check comes before the first write: a script is not rolled back.
if not again then
  if lease[1] ~= ARGV[3] or redis.call('LINDEX', k.lane, 0) ~= head then return {'FENCED'} end
  -- From here on the order to cancel comes too late: it finds the head no longer in its lane.
  if ARGV[10] == '1' and redis.call('HEXISTS', KEYS[7], head) == 1 then return {'CANCELLED'} end
  local function expect(key, kind)
    local found = redis.call('TYPE', key)['ok']
    if found ~= 'none' and found ~= kind then
      return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. found .. ', expected a ' .. kind)
    end
  end
  local kinds = {publish = {'stream', 'list'}, append = {'list'}, replace = {'list'}, set = {'hash'},
    unset = {'hash'}, event = {'stream'}, delete = {}}
  local wrong = expect(k.dead, 'stream') or expect(KEYS[7], 'hash')
  local i = FIRST_EFFECT
  while ARGV[i] and not wrong do
    for n, kind in ipairs(kinds[ARGV[i]]) do
      wrong = wrong or expect(KEYS[tonumber(ARGV[i + 1]) + n - 1], kind)
    end
    i = i + 3 + tonumber(ARGV[i + 2])
  end
  if wrong then return wrong end

  local effects = {}
  function effects.publish(key, a)
    local id = redis.call('XADD', KEYS[key], '*', 'lane', ARGV[a], 'body', ARGV[a + 1])
    redis.call('RPUSH', KEYS[key + 1], id)
  end
  function effects.append(key, a, n)
    redis.call('RPUSH', KEYS[key], ARGV[a])
    redis.call('LTRIM', KEYS[key], -tonumber(ARGV[a + 1]), -1)
    if n == 3 then redis.call('EXPIRE', KEYS[key], ARGV[a + 2]) end
  end
  function effects.replace(key, a, n)
    local at = redis.call('LPOS', KEYS[key], ARGV[a])
    if at then
      redis.call('LSET', KEYS[key], at, ARGV[a + 1])
      if n == 4 then redis.call('EXPIRE', KEYS[key], ARGV[a + 3]) end
    else
      effects.append(key, a + 1, n - 1)
    end
  end
  function effects.unset(key, a, n) redis.call('HDEL', KEYS[key], unpack(ARGV, a, a + n - 1)) end
  function effects.set(key, a, n)
    for j = a, a + n - 2, 2 do redis.call('HSET', KEYS[key], ARGV[j], ARGV[j + 1]) end
    -- An odd last argument is the time to live in seconds.
    if n % 2 == 1 then redis.call('EXPIRE', KEYS[key], ARGV[a + n - 1]) end
  end
  function effects.event(key, a, n)
    redis.call('XADD', KEYS[key], 'MAXLEN', '~', ARGV[a], '*', unpack(ARGV, a + 1, a + n - 1))
  end
  function effects.delete(key) redis.call('DEL', KEYS[key]) end

  if ARGV[9] ~= '' then
    local entry = redis.call('XRANGE', k.stream, head, head)[1]
    redis.call('XADD', k.dead, '*', 'queue', k.queue, 'lane', k.name, 'entry', head,
      'attempts', redis.call('HGET', k.lease, 'attempts'), 'reason', ARGV[9],
      'body', entry and field(entry[2], 'body') or '')
  end
  i = FIRST_EFFECT
  while ARGV[i] do
    local n = tonumber(ARGV[i + 2])
    effects[ARGV[i]](tonumber(ARGV[i + 1]), i + 3, n)
    i = i + 3 + n
  end
  redis.call('LPOP', k.lane)
  redis.call('XACK', k.stream, group, head)
  redis.call('XDEL', k.stream, head)
  redis.call('HDEL', KEYS[7], head, 'by:' .. head)
  redis.call('HSET', k.lease, 'done', mark)
elseif lease[3] ~= owner then
  return {'IDLE'}
end

return take_head(k, owner, tonumber(ARGV[5]), tonumber(ARGV[6]), group, now) or {'IDLE'}
