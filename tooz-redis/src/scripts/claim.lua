-- Takes a seat, or a place in its queue. The free and uncontended case comes first and stands alone.
-- KEYS: main seat queue readers void [session]   (no session where it lives in another slot)
-- ARGV: claim mode ttl record stir prefix foreign try stranger
-- Answers: the token | {ticket, ahead, revisit, watch} | "void" | "ended" | "busy"
local call = redis.call
local main, seat, queue, readers, void, session = unpack(KEYS)
local claim, mode, ttl, text, stir = unpack(ARGV)
local free
if session then
  -- The session counts five times: more than all that must not be there.
  free = call('EXISTS', session, session, session, session, session, void, queue, readers, main) == 5
else
  free = call('EXISTS', void, queue, readers, main) == 0
end
if free and mode == 'x' then
  local known = call('HMGET', seat, 'v', 't')
  local last = tonumber(known[2] or 0)
  if last and (known[1] == '1' or not known[1]) then
    local time = call('TIME')
    local us = time[1] * 1000000 + time[2]
    local token = us
    if last >= us then
      token = last + 1
    end
    local ms = (us - us % 1000) / 1000
    call('SET', main, claim, 'PX', ttl)
    call('HSET', seat, 'v', '1', 't', string.format('%.0f', token), 'm', claim, 'c', text, 's', ms, 'n', '')
    if us - last > 3600000000 or last > us then
      call('PEXPIRE', seat, 90000000)
    end
    call('PUBLISH', stir, '')
    return token
  end
end
