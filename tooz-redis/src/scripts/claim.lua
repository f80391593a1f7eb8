-- Takes a seat, or a place in its queue. The free and uncontended case comes first and stands alone.
-- KEYS: main seat queue readers void [session]   (no session where it lives in another slot)
-- ARGV: claim mode ttl record stir prefix foreign try
-- Answers: the token | {ticket, ahead, revisit, foreign} | "void" | "ended" | "busy"
local main, seat, queue, readers, void, session = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local claim, stir = ARGV[1], ARGV[5]
local free
if session then
  -- The session counts five times: more than all that must not be there.
  free = redis.call('EXISTS', session, session, session, session, session, void, queue, readers, main) == 5
else
  free = redis.call('EXISTS', void, queue, readers, main) == 0
end
if free and ARGV[2] == 'x' then
  local known = redis.call('HMGET', seat, 'v', 't')
  local last = tonumber(known[2] or '0')
  if last and (not known[1] or known[1] == '1') then
    local time = redis.call('TIME')
    local us = time[1] * 1000000 + time[2]
    local ms = time[1] * 1000 + math.floor(time[2] / 1000)
    local token = us
    if last >= us then
      token = last + 1
    end
    redis.call('SET', main, claim, 'PX', ARGV[3])
    redis.call('HSET', seat, 'v', '1', 't', string.format('%.0f', token), 'm', claim, 'c', ARGV[4], 's', ms, 'a', ms)
    if us - last > 3600000000 or last > us then
      redis.call('PEXPIRE', seat, 90000000)
    end
    redis.call('PUBLISH', stir, '')
    return token
  end
end
