
-- Lets go of old messages, and of ids that nobody will send again.
-- ARGV: count age keep linger most
if not there then
  return 0
end
local age, keep, linger, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('XTRIM', log, 'MAXLEN', '=', ARGV[1])
if age < now then
  gone = gone + redis.call('XTRIM', log, 'MINID', '=', string.format('%.0f', now - age))
end

-- An idle channel outlives its last message.
local stay = string.format('%.0f', age + keep)
if known[9] ~= stay or redis.call('PTTL', info) < age + keep / 2 then
  redis.call('HSET', info, 'k', stay)
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, stay)
  end
end

-- The older half of the ids goes as a whole, once no message of it is retained.
local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
local first = count + 1
if oldest then
  first = number_of(oldest) or 0
end
local old, since = tonumber(known[7] or '') or 0, tonumber(known[8] or '') or 0
if old < first and (now - since >= linger or count - old >= most) then
  local young = (known[5] == '2') and 2 or 1
  redis.call('UNLINK', KEYS[2 + 3 - young])
  -- The next message gives the new half its time to live.
  redis.call('HSET', info, 'g', 3 - young, 'o', string.format('%.0f', count), 't', string.format('%.0f', now),
    'x', '0')
end
return gone
