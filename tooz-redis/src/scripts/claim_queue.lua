-- The rest of a claim: void? already mine? already queued? free? else queue.
prefix, foreign = ARGV[6], ARGV[7] == '1'
local try = ARGV[8] == '1'
ttl = tonumber(ttl)
if session and redis.call('EXISTS', session) == 0 then
  return 'ended'
end
if redis.call('EXISTS', void) == 1 then
  return 'void'
end

-- Whoever asks again after a hand-over may have heard the notice as one about an earlier grant.
local function repeat_notice()
  tell(ARGV[4], 'E ' .. claim)
end

local function mine()
  if value == claim then
    if kind == 'one' then
      -- Always a write: waiting for replicas covers only what this connection wrote.
      redis.call('PEXPIRE', main, math.max(ttl, redis.call('PTTL', main)))
      if redis.call('HGET', seat, 'n') == claim then
        repeat_notice()
      end
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
      redis.call('PEXPIRE', main, math.max(ttl, redis.call('PTTL', main)))
      keep(readers, ttl + LONE)
      if redis.call('HEXISTS', seat, 'n:' .. claim) == 1 then
        repeat_notice()
      end
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
  redis.call('HSET', seat, 'v', '1', 'c:' .. claim, ARGV[4], 'e:' .. claim, now + ttl)
end
if kind == 'free' or kind == 'shared' then
  prune()
  pass_on()
  token = mine()
  if token then
    return token
  end
  -- A head that was not found among too many dead is still a head.
  if not head() and redis.call('EXISTS', queue) == 0 then
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

-- A key that changed in a moment left to strangers was taken by one, even if it is free again.
if (kind == 'foreign' or ARGV[9] == '1' and kind == 'free') and seen - now < FOREIGN - 1000 then
  redis.call('HSET', seat, 'f', now + FOREIGN)
end
if not waits then
  -- Busy since when? A pause too short for those who poll is none; a seat that was handed over had none.
  local queued, handed = unpack(redis.call('HMGET', seat, 'q', 'w'))
  if handed ~= value and now - (tonumber(queued or '0') or 0) > 1000 and redis.call('EXISTS', queue) == 0 then
    redis.call('HSET', seat, 'a', now)
  end
  redis.call('HSET', seat, 'q', now)
  -- Whoever died at the end of the queue goes now: it may be long before they come to its head.
  for _, id in ipairs(redis.call('ZRANGE', queue, -8, -1)) do
    if (tonumber(redis.call('HGET', seat, 'e:' .. id) or '0') or 0) <= now then
      drop_waiter(id)
    end
  end
  local tail = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')
  waits = math.max((tonumber(tail[2] or '0') or 0) + 1, us)
  redis.call('ZADD', queue, string.format('%.0f', waits), claim)
  redis.call('HSET', seat, 'v', '1', 'c:' .. claim, ARGV[4], 'e:' .. claim, now + ttl)
  redis.call('PUBLISH', stir, '')
end
-- The queue stays as long as the seat, which has the records of those who wait.
keep(queue, DAY)
keep(seat, DAY)

-- The dead who lead the queue keep nobody from being its head, whoever holds.
local front = redis.call('ZRANGE', queue, 0, 0)[1]
local first = head()
if first ~= front and first ~= claim then
  ask_again(first)
end
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
local watch = 0
if foreign and rank == 0 and (kind == 'foreign' or kind == 'free' and gap > now) then
  watch = 1
end
return {tonumber(waits), rank + ahead, revisit, watch}
