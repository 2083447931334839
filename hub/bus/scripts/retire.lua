-- Remove a consumer; what it had not finished is offered to the others at once.
-- KEYS: stream   ARGV: group, consumer
-- Returns the number of entries handed over
local moved = 0
while true do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
  if #pending == 0 then break end
  local ids = {}
  for i, entry in ipairs(pending) do ids[i] = entry[1] end
  -- A day of idle time makes them stale at the next look of any worker.
  local args = {'XCLAIM', KEYS[1], ARGV[1], 'orphans', 0}
  for _, id in ipairs(ids) do args[#args + 1] = id end
  for _, option in ipairs({'IDLE', 86400000, 'JUSTID'}) do args[#args + 1] = option end
  local claimed = redis.call(unpack(args))
  moved = moved + #claimed
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return moved
