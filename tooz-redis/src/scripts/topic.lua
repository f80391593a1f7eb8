-- What is known of one channel.
-- KEYS: info log [ids ids]
local info, log = KEYS[1], KEYS[2]
local known = redis.call('HMGET', info, 'v', 'i', 'n', 'l', 'g', 'x', 'o', 't', 'k')
if known[1] and known[1] ~= '1' then
  error('the channel ' .. log .. ' was written by a newer version (' .. known[1] .. ')')
end
local life, count, last = known[2], tonumber(known[3] or ''), known[4]
-- Where one half is lost, all of it is.
local there = life and count and last and redis.call('EXISTS', log) == 1

-- The number of an entry that is ours. Whoever reads the answer looks at the sender, too.
local HEAD = '^1(%d+) ' .. string.rep('%x', 32) .. '.'
local function number_of(entry)
  local fields = entry[2]
  if #fields == 4 and fields[1] == 'h' and fields[3] == 'b' and #fields[2] <= 400 then
    return tonumber(string.match(fields[2], HEAD))
  end
end
