-- The rest of a claim: void? already mine? already queued? free? else queue.
prefix, foreign = ARGV[6], ARGV[7] == '1'
local try, ttl = ARGV[8] == '1', tonumber(ARGV[3])
if session and redis.call('EXISTS', session) == 0 then
  return 'ended'
end
if redis.call('EXISTS', void) == 1 then
  return 'void'
end

local function mine()
  if value == claim then
    if kind == 'one' then
      keep(main, ttl)
      return last
    elseif kind == 'foreign' then
      -- The key is this claim's, but what we knew of the seat is gone.
      return tonumber(seat_one(claim, ARGV[4], ttl))
    end
  end
  if kind == 'shared' then
    local score = tonumber(redis.call('ZSCORE', readers, claim) or '0')
    local token = tonumber(string.match(redis.call('HGET', seat, 'h:' .. claim) or '', '^(%d+) '))
    if score > now and token then
      redis.call('ZADD', readers, math.max(score, now + ttl), claim)
      keep(main, ttl)
      keep(readers, ttl + LONE)
      return token
    end
  end
end

enter()
local token = mine()
if token then
  return token
end
local waits = redis.call('ZSCORE', queue, claim)
if try then
  -- A try that fails writes nothing.
  if waits or kind == 'one' or kind == 'foreign' then
    return 'busy'
  end
  for _, id in ipairs(redis.call('ZRANGE', queue, 0, 199)) do
    if (tonumber(redis.call('HGET', seat, 'e:' .. id) or '0') or 0) > now then
      return 'busy'
    end
  end
  if kind == 'shared' and ARGV[2] == 'x' and redis.call('ZCOUNT', readers, '(' .. now, '+inf') > 0 then
    return 'busy'
  end
elseif waits then
  redis.call('HSET', seat, 'e:' .. claim, now + ttl)
end
if kind == 'free' or kind == 'shared' then
  prune()
  pass_on()
  token = mine()
  if token then
    return token
  end
  if not head() then
    if kind == 'free' then
      redis.call('HSET', seat, 'a', now)
    end
    if kind == 'free' and ARGV[2] == 'x' then
      token = tonumber(seat_one(claim, ARGV[4], ttl))
    elseif ARGV[2] == 's' and kind ~= 'one' then
      token = tonumber(seat_reader(claim, ARGV[4], ttl))
    end
    if token then
      redis.call('PUBLISH', stir, '')
      return token
    end
  end
  if try then
    return 'busy'
  end
end

if kind == 'foreign' and seen - now < FOREIGN - 1000 then
  redis.call('HSET', seat, 'f', now + FOREIGN)
end
if not waits then
  local tail = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')
  waits = math.max((tonumber(tail[2] or '0') or 0) + 1, us)
  redis.call('ZADD', queue, string.format('%.0f', waits), claim)
  redis.call('HSET', seat, 'v', '1', 'c:' .. claim, ARGV[4], 'e:' .. claim, now + ttl)
  redis.call('PUBLISH', stir, '')
end
keep(queue, ttl + LONE)
keep(seat, DAY)

-- When to ask again at the latest: whoever is before this claim may die without a word.
local rank, ahead, held = redis.call('ZRANK', queue, claim), 0, redis.call('PTTL', main)
if kind == 'shared' then
  ahead = redis.call('ZCARD', readers)
elseif kind ~= 'free' then
  ahead = 1
end
if held == -1 then
  held = 1000
end
local revisit
if rank == 0 then
  if kind == 'free' then
    revisit = math.max(gap - now, 0) + 1
  else
    revisit = math.max(held, 0) + 3
  end
else
  local before = redis.call('ZRANGE', queue, rank - 1, rank - 1)[1]
  local text, expiry = unpack(redis.call('HMGET', seat, 'c:' .. before, 'e:' .. before))
  if is_ours(text) and session_of(text) == session_of(ARGV[4]) then
    revisit = -1
  else
    revisit = math.max(held, (tonumber(expiry or '0') or 0) - now, 0) + 5
  end
end
return {tonumber(waits), rank + ahead, revisit, kind == 'foreign' and rank == 0 and 1 or 0}
