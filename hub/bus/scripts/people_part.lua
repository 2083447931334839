-- Take an identity out of its person; one that is left alone is no group any more.
-- KEYS: person of the identity   ARGV: identity, prefix of the keys
-- Returns how many identities it was parted from
local person = redis.call('GET', KEYS[1])
if not person then return 0 end
local members = ARGV[2] .. 'members:' .. person
redis.call('SREM', members, ARGV[1])
redis.call('DEL', KEYS[1])
local left = redis.call('SMEMBERS', members)
if #left == 1 then redis.call('DEL', members, ARGV[2] .. 'person:' .. left[1]) end
return #left
