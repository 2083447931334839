-- Redeem a code: who offered it and who redeems it are one person from now on.
-- KEYS: code, person of the redeemer   ARGV: turn of the redeemer, identity of the redeemer, prefix of the keys, a fresh name
-- Returns 'UNKNOWN' | 'SELF' | 'JOINED'; asked again by the same turn, the same
local offer = redis.call('HMGET', KEYS[1], 'identity', 'used_by')
if not offer[1] or (offer[2] and offer[2] ~= ARGV[1]) then return 'UNKNOWN' end
if offer[1] == ARGV[2] then return 'SELF' end
local prefix = ARGV[3]
local theirs = redis.call('GET', prefix .. 'person:' .. offer[1]) or ARGV[4]
local mine = redis.call('GET', KEYS[2])
redis.call('HSET', KEYS[1], 'used_by', ARGV[1])
local joining = {offer[1], ARGV[2]}
if mine and mine ~= theirs then
  for _, identity in ipairs(redis.call('SMEMBERS', prefix .. 'members:' .. mine)) do joining[#joining + 1] = identity end
  redis.call('DEL', prefix .. 'members:' .. mine)
end
for _, identity in ipairs(joining) do
  redis.call('SET', prefix .. 'person:' .. identity, theirs)
  redis.call('SADD', prefix .. 'members:' .. theirs, identity)
end
return 'JOINED'
