-- Shared by the other scripts: put in front of each when it is loaded.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function field(entry, name)
  for i = 1, #entry, 2 do
    if entry[i] == name then return entry[i + 1] end
  end
  return nil
end

-- Return the entry of an id, and whether it is an id at all: somebody else may have put anything into a lane.
local function entry_of(stream, id)
  if not string.match(id, '^%d+%-%d+$') then return nil, false end
  local found = redis.pcall('XRANGE', stream, id, id)
  if not found.err then return found[1], true end
  -- Its numbers are too large. Any other error says nothing of the id.
  if not string.find(found.err, 'Invalid stream ID', 1, true) then error(found.err) end
  return nil, false
end

-- Mark some entries that stand in a lane as cancelled; returns how many.
local function cancel(cancelled, entries, keep_s)
  for _, entry in ipairs(entries) do redis.call('HSET', cancelled, entry, 1) end
  -- A commit takes the mark of its entry away; the time to live is for what nobody ever works on.
  if #entries > 0 then redis.call('EXPIRE', cancelled, keep_s) end
  return #entries
end

-- Give out the next fence. A server that was promoted or started again may not know the latest ones that were given
-- out: it goes on at its clock in microseconds, which no counter can outrun, and at least a million further, should
-- that clock be behind. So whoever still holds a lost fence commits nothing.
local function next_fence(k)
  local told = redis.pcall('INFO', 'replication')
  local id = type(told) == 'string' and string.match(told, 'master_replid:(%w+)')
  local known = redis.call('GET', k.fence_source)
  if not id or known == id then return redis.call('INCR', k.fence) end
  local time = redis.call('TIME')
  local fence = math.max(tonumber(redis.call('GET', k.fence) or 0) + 1000000, time[1] * 1000000 + time[2])
  redis.call('SET', k.fence_source, id)
  redis.call('SET', k.fence, string.format('%d', fence))
  return fence
end

-- Lease the first entry of the lane that can be worked on; dead-letter those that cannot.
-- Returns {'RUN', head, fence, attempts, retries, crashes, body} or nil when the lane is empty (the lease is gone then).
local function take_head(k, owner, lease_ms, limit, group, now)
  local old = redis.call('HMGET', k.lease, 'head', 'attempts', 'retries', 'owner', 'crashes')
  while true do
    local head = redis.call('LINDEX', k.lane, 0)
    if not head then
      redis.call('HDEL', k.lease, 'owner', 'expires', 'fence', 'head', 'attempts', 'retries', 'crashes')
      -- `done` stays for a while, so that a repeated COMMIT whose answer was lost is told the same.
      redis.call('PEXPIRE', k.lease, 3600000)
      return nil
    end
    local attempts, retries, crashes = 1, 0, 0
    if old[1] == head then
      -- The owner that enters again lost an answer or its connection: no attempt has failed.
      attempts = tonumber(old[2] or '0') + (old[4] == owner and 0 or 1)
      retries = tonumber(old[3] or '0')
      -- An owner that is not '' never gave it back: it ended, or slept past its lease.
      crashes = tonumber(old[5] or '0') + ((old[4] and old[4] ~= '' and old[4] ~= owner) and 1 or 0)
    end
    local entry, is_id = entry_of(k.stream, head)
    local body = entry and field(entry[2], 'body')
    if body and attempts <= limit then
      local fence = next_fence(k)
      redis.call('HSET', k.lease, 'owner', owner, 'expires', now + lease_ms, 'fence', fence,
        'head', head, 'attempts', attempts, 'retries', retries, 'crashes', crashes)
      redis.call('PERSIST', k.lease)
      return {'RUN', head, fence, attempts, retries, crashes, body}
    end
    redis.call('XADD', k.dead, '*', 'queue', k.queue, 'lane', k.name, 'entry', head, 'attempts', attempts,
      'reason', body and 'every attempt ended its worker' or 'the message is no longer on the stream',
      'body', body or '')
    redis.call('LPOP', k.lane)
    if is_id then
      redis.call('XACK', k.stream, group, head)
      redis.call('XDEL', k.stream, head)
    end
  end
end
