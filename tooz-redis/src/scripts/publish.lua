
-- Appends a message, or tells where it stands already.
-- ARGV: id sender body stir keep
local id, keep = ARGV[1], math.max(tonumber(ARGV[5]), tonumber(known[9] or '') or 0)
local ids = {KEYS[3], KEYS[4]}
local now = tonumber(known[5] or '')
now = (now == 2) and 2 or 1

-- A place has room for 44 and 20 bits.
local function split(place)
  local ms, seq = string.match(place, '^(%d+)%-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  return ms < 2 ^ 44 and seq < 2 ^ 20, ms, seq
end

local wanted = '*'
if there then
  local place = redis.call('HGET', ids[now], id) or redis.call('HGET', ids[3 - now], id)
  if place then
    local number, at = string.match(place, '^(%d+) (%d+%-%d+)$')
    if number then
      return {life, tonumber(number), at}
    end
  end
  local _, ms, seq = split(last)
  if seq == 2 ^ 20 - 1 then
    -- The clock has been standing still, or went back.
    wanted = string.format('%.0f-0', ms + 1)
  end
else
  -- First of all: it fails where the key is something else.
  redis.call('XTRIM', log, 'MAXLEN', '=', 0)
  life, count = id, 0
end

local function head(number)
  -- Not by a format: that ends at a NUL.
  return string.format('1%.0f ', number) .. id .. ARGV[2]
end

local place = redis.pcall('XADD', log, wanted, 'h', head(count + 1), 'b', ARGV[3])
local spent = type(place) == 'table' and
  (string.find(place.err, 'exhausted') or string.find(place.err, 'equal or smaller'))
if type(place) == 'table' and not spent then
  return place
end
if spent or not split(place) then
  -- Somebody else's entry is far ahead of all clocks: nothing can follow it.
  redis.call('UNLINK', log)
  there, life, count = false, id, 0
  place = redis.call('XADD', log, '*', 'h', head(1), 'b', ARGV[3])
end
local _, ms = split(place)
local number = string.format('%.0f', count + 1)
if there then
  redis.call('HSET', info, 'n', number, 'l', place)
else
  redis.call('DEL', info, ids[1], ids[2])
  now = 1
  redis.call('HSET', info, 'v', '1', 'i', life, 'n', number, 'l', place, 'g', '1', 'o', '0',
    't', string.format('%.0f', ms))
end
redis.call('HSET', ids[now], id, number .. ' ' .. place)
-- By the time that is left, not by a date: clocks and stream ids may be far apart. A new half has no end yet.
if not there or known[6] == '0' or redis.call('PTTL', info) < keep - tonumber(ARGV[5]) / 2 then
  redis.call('HSET', info, 'x', '1')
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, string.format('%.0f', keep))
  end
end
redis.call('PUBLISH', ARGV[4], '')
return {life, count + 1, place}
