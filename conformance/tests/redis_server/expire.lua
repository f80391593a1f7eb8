-- ARGV: session. Ends all that stands under it, as its time to live would.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local session = ARGV[1]
local function owned(record)
  return record and string.sub(record, 3, 34) == session
end
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'string' and string.sub(key, -#session) == session and string.sub(key, 1, 8) == 'tooz-rs:' then
    redis.call('DEL', key)
  elseif kind == 'string' and redis.call('GET', key) == session then
    redis.call('DEL', key)
  elseif kind == 'hash' and string.sub(key, -5) == ':seat' then
    local stem = string.sub(key, 1, -5)
    local main = string.match(key, '^{[^}]*}:tooz:(.*):seat$') or string.match(key, '^{([^}]*)}:seat$')
    local all = redis.call('HGETALL', key)
    local of = {}
    for i = 1, #all, 2 do
      of[all[i]] = all[i + 1]
    end
    if owned(of['c']) and redis.call('GET', main) == of['m'] then
      redis.call('DEL', main)
    end
    for field, record in pairs(of) do
      local claim = string.match(field, '^c:(.*)$')
      if claim and owned(record) then
        if of['e:' .. claim] then
          redis.call('HSET', key, 'e:' .. claim, 1)
        end
        if redis.call('ZSCORE', stem .. 'readers', claim) then
          redis.call('ZADD', stem .. 'readers', 1, claim)
        end
      end
    end
    if of['r'] and redis.call('GET', main) == of['r'] then
      local longest = tonumber(redis.call('ZRANGE', stem .. 'readers', -1, -1, 'WITHSCORES')[2] or '0')
      if longest > now then
        redis.call('PEXPIRE', main, longest - now)
      else
        redis.call('DEL', main)
      end
    end
  elseif kind == 'hash' and string.sub(key, -9) == ':sessions' then
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      local owner, began = string.match(all[i + 1], '^1 (%x+) %d+ (%d+)$')
      if owner == session then
        redis.call('HSET', key, all[i], '1 ' .. owner .. ' 1 ' .. began)
      end
    end
  end
end
return 'done'
