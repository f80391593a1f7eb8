
-- The messages after a place.
-- ARGV: life number place (where to go on; life is empty for the beginning) messages bytes largest
--       reached of (where an earlier walk that found nothing stopped, in which life; else empty)
if not there then
  return 'none'
end
local after, most, room, largest = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function is_earlier(one, other)
  local a, b = string.match(one, '^(%d+)%-(%d+)$')
  local c, d = string.match(other, '^(%d+)%-(%d+)$')
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  return a < c or (a == c and b < d)
end

-- Whether what stands at the place, or did, can be the message of this number.
local function is_place_of(number)
  if number > count then
    return false
  end
  if number == count then
    return after == last
  end
  local entry = redis.call('XRANGE', log, after, after)[1]
  if entry then
    return number_of(entry) == number
  end
  -- Let go of, if all that is retained is later.
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  return not oldest or (is_earlier(after, oldest[1]) and (number_of(oldest) or number + 1) > number)
end

local anew, from = 0, '-'
if ARGV[1] ~= '' then
  local number = tonumber(ARGV[2])
  if ARGV[1] == life and is_place_of(number) then
    from = after
    if number == count then
      most = 0
    end
  else
    anew = 1
  end
end

if ARGV[7] ~= '' and ARGV[8] == life then
  from = ARGV[7]
end

local found, taken, bytes, odd = {}, 0, 0, 0
-- What others wrote is no reason to hold the server up: no further than so many entries and bytes.
local far, heavy, reached = 2048, 4 * 1024 * 1024, ''
-- Few at a time, and one where they are large. The first is the one before, where there was one.
local step, seen, weight = 2, 0, 0
while taken < most do
  if seen >= far or weight >= heavy then
    reached = (taken == 0) and from or ''
    break
  end
  local entries = redis.call('XRANGE', log, from, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    if entry[1] ~= from then
      local body = entry[2][4]
      seen = seen + 1
      for _, field in ipairs(entry[2]) do
        weight = weight + #field
      end
      if number_of(entry) and #body <= largest then
        if taken == most or (taken > 0 and bytes + #body > room) then
          most = taken
          break
        end
        taken, bytes = taken + 1, bytes + math.max(#body, 1)
        found[#found + 1] = entry[1]
        found[#found + 1] = entry[2][2]
        found[#found + 1] = body
      else
        odd = odd + 1
      end
    end
  end
  if #entries < step then
    break
  end
  from = entries[step][1]
  step = (weight / math.max(seen, 1) * 16 < room - bytes) and 17 or 2
end
return {life, count, last, anew, odd, found, reached}
