-- The sign of life that Python looks at: a namesake's is only ever made longer, and only by a member.
-- KEYS: beat
-- ARGV: act ("begin" before joining, "renew" as a member, or "look") session ttl
-- Answers: what stood there before, or ""
local was = redis.call('GET', KEYS[1])
if ARGV[1] == 'look' then
  return was or ''
elseif not was or was == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
elseif ARGV[1] == 'renew' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return was or ''
