-- One line for everything that stands although nobody is there. What keeps tokens growing may stay, and
-- so may groups, and what only a sweep would find of those whose time is up.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- ARGV: the namespace to look at, everything and the usual one by default.
local namespace = ARGV[1] or '_tooz'
local left = {}
local function is_dead(record)
  local expiry = string.match(record, '^1 %x+ (%d+) %d+$')
  return expiry and tonumber(expiry) <= now
end
for _, key in ipairs(redis.call('KEYS', ARGV[1] and '*' .. ARGV[1] .. '*' or '*')) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' and string.sub(key, -5) == ':seat' then
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      local claim = string.match(all[i], '^[ceh]:(.*)$')
      if claim then
        local stem = string.sub(key, 1, -5)
        local expiry = tonumber(redis.call('HGET', key, 'e:' .. claim) or '0')
        local score = tonumber(redis.call('ZSCORE', stem .. 'readers', claim) or '0')
        if expiry > now or score > now then
          left[#left + 1] = key .. ' has ' .. all[i]
        end
      end
    end
    if redis.call('TTL', key) < 0 then
      left[#left + 1] = key .. ' stays for ever'
    end
  elseif kind == 'zset' then
    if redis.call('TTL', key) < 0 then
      left[#left + 1] = key .. ' stays for ever'
    end
  elseif kind == 'hash' and string.sub(key, -9) == ':sessions' then
    for i, record in ipairs(redis.call('HVALS', key)) do
      if not is_dead(record) then
        left[#left + 1] = key .. ': ' .. record
      end
    end
    if redis.call('TTL', key) < 0 then
      left[#left + 1] = key .. ' stays for ever'
    end
  elseif kind == 'stream' or kind == 'hash' and (string.find(key, ':log$') or string.find(key, ':ids:[12]$')) then
    -- Messages outlive whoever published them, for a while.
    if redis.call('TTL', key) < 0 then
      left[#left + 1] = key .. ' stays for ever'
    end
  elseif kind == 'string' and string.sub(key, 1, #namespace + 7) == namespace .. '_beats:' then
    -- Other sessions of the member may stand on it, so that it ends by itself.
    if redis.call('TTL', key) < 0 then
      left[#left + 1] = key .. ' stays for ever'
    end
  elseif kind == 'hash' or kind == 'set' then
    -- Groups, and the members that nobody has looked for yet.
    if kind == 'hash' and string.sub(key, 1, #namespace + 7) ~= namespace .. '_group:' then
      left[#left + 1] = key
    end
  else
    left[#left + 1] = kind .. ' ' .. key
  end
end
return left
