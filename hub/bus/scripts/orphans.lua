-- Find lane heads that no consumer will be told of: gone from the stream, or delivered once and pending with nobody.
-- KEYS: stream, lanes...   ARGV: group
-- Returns for each lane its head, or false where all is well
local function order(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local delivered_ms, delivered_seq = 0, 0
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
for _, group in ipairs(groups.err and {} or groups) do
  if field(group, 'name') == ARGV[1] then delivered_ms, delivered_seq = order(field(group, 'last-delivered-id')) end
end
local heads = {}
for i = 2, #KEYS do
  local head = redis.call('LINDEX', KEYS[i], 0)
  local is_orphan = false
  if head then
    local ms, seq = order(head)
    -- What is no id was put there by somebody else; whoever enters the lane takes it out.
    if not entry_of(KEYS[1], head) then
      is_orphan = true
    elseif ms < delivered_ms or (ms == delivered_ms and seq <= delivered_seq) then
      is_orphan = #redis.call('XPENDING', KEYS[1], ARGV[1], head, head, 1) == 0
    end
  end
  heads[i - 1] = is_orphan and head
end
return heads
