-- Opens a session ("open"), renews it ("renew") or ends it ("end").
-- KEYS: session
-- ARGV: act ttl record
-- Answers: 1 | "ended"
if ARGV[1] == 'open' then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
  return 1
elseif ARGV[1] == 'end' then
  redis.call('DEL', KEYS[1])
  return 1
elseif redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 1 then
  return 1
end
return 'ended'
