-- What the scripts of a seat share. Expects the locals main, seat, queue, readers and stir.
local DAY, LONE, GAP, FOREIGN = 90000000, 60000, 120, 600000
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local prefix, foreign
local last, holder, record, seen, gap, busy, common, value, kind

-- Reads the seat. `kind` says who has the main key: nobody, one claim of ours, readers, or a stranger.
local function enter()
  local known = redis.call('HMGET', seat, 'v', 't', 'm', 'c', 'f', 'g', 'a', 'r')
  if known[1] and known[1] ~= '1' then
    error('the seat ' .. seat .. ' was written by a newer version (' .. known[1] .. ')')
  end
  last = tonumber(known[2] or '0')
  if not last then
    error('the token in ' .. seat .. ' is no number')
  end
  holder, record, common = known[3], known[4], known[8]
  seen, gap, busy = tonumber(known[5] or '0') or 0, tonumber(known[6] or '0') or 0, tonumber(known[7] or '0') or 0
  value = redis.call('GET', main)
  if not value then
    kind = 'free'
  elseif value == holder then
    kind = 'one'
  elseif value == common then
    kind = 'shared'
  else
    kind = 'foreign'
  end
end

local function keep(key, ms)
  if redis.call('PTTL', key) < ms then
    redis.call('PEXPIRE', key, ms)
  end
end

-- The next token of the seat, as text. Lua's own way to write numbers drops digits.
local function draw()
  local was = last
  last = math.max(last + 1, us)
  return string.format('%.0f', last), us - was > 3600000000 or was > us
end

local function is_ours(text)
  if not text or #text < 48 or string.sub(text, 1, 1) ~= '1' then
    return false
  end
  local mode = string.sub(text, 2, 2)
  return mode == 'x' or mode == 's'
end

local function session_of(text)
  return string.sub(text, 3, 34)
end

local function tell(text, message)
  if is_ours(text) then
    redis.call('PUBLISH', prefix .. session_of(text), message)
  end
end

-- Tells a claim that waits to ask again: whichever it is, or only one of the session that a record is of.
local function ask_again(id, relative)
  local text = redis.call('HGET', seat, 'c:' .. id)
  if is_ours(text) and redis.call('ZSCORE', queue, id) then
    if not relative or session_of(text) == session_of(relative) then
      tell(text, 'A ' .. id)
    end
  end
end

local function drop_waiter(id)
  redis.call('ZREM', queue, id)
  redis.call('HDEL', seat, 'c:' .. id, 'e:' .. id)
end

local function drop_reader(id)
  redis.call('ZREM', readers, id)
  redis.call('HDEL', seat, 'c:' .. id, 'h:' .. id, 'n:' .. id)
end

-- Readers whose time is up, or who lost the main key, hold no more.
local function prune()
  local dead
  if kind == 'shared' then
    dead = redis.call('ZRANGEBYSCORE', readers, '-inf', now, 'LIMIT', 0, 1000)
  else
    dead = redis.call('ZRANGE', readers, 0, -1)
  end
  for _, id in ipairs(dead) do
    drop_reader(id)
  end
  if kind == 'shared' and redis.call('ZCARD', readers) == 0 then
    redis.call('DEL', main)
    kind, value = 'free', false
  end
end

-- Readers who stay keep the main key no longer than the last of them has time.
local function shorten()
  local longest = tonumber(redis.call('ZRANGE', readers, -1, -1, 'WITHSCORES')[2])
  redis.call('PEXPIRE', main, math.max(longest - now, 1))
end

local function seat_one(id, text, px, handed)
  local token, fresh = draw()
  redis.call('SET', main, id, 'PX', px)
  redis.call('HSET', seat, 'v', '1', 't', token, 'm', id, 'c', text, 's', now, 'n', '', 'w', handed and id or '')
  if fresh then
    redis.call('PEXPIRE', seat, DAY)
  end
  holder, value, kind = id, id, 'one'
  return token
end

local function seat_reader(id, text, px, handed)
  local token = draw()
  if kind == 'shared' then
    keep(main, px)
  else
    redis.call('SET', main, id, 'PX', px)
    redis.call('HSET', seat, 'r', id, 'w', handed and id or '')
    common, value, kind = id, id, 'shared'
  end
  redis.call('ZADD', readers, now + px, id)
  keep(readers, px + LONE)
  redis.call('HSET', seat, 'v', '1', 't', token, 'c:' .. id, text, 'h:' .. id, token .. ' ' .. now)
  keep(seat, DAY)
  return token
end

-- The first in the queue whose time is not up: its id, its record, and until when it lives.
local function head()
  for _ = 1, 1000 do
    local id = redis.call('ZRANGE', queue, 0, 0)[1]
    if not id then
      return nil
    end
    local text, expiry = unpack(redis.call('HMGET', seat, 'c:' .. id, 'e:' .. id))
    expiry = tonumber(expiry or '0') or 0
    if is_ours(text) and expiry > now then
      return id, text, expiry
    end
    drop_waiter(id)
  end
  return nil
end

-- Hands the seat to the head of its queue, and to every reader that follows a reader.
local function pass_on()
  if kind ~= 'free' and kind ~= 'shared' or redis.call('EXISTS', queue) == 0 then
    return
  end
  prune()
  if kind == 'free' and foreign and gap > now then
    return
  end
  local moved = false
  for _ = 1, 1000 do
    if kind == 'one' then
      break
    end
    local id, text, expiry = head()
    if not id then
      break
    end
    local alone = string.sub(text, 2, 2) == 'x'
    if alone and kind ~= 'free' then
      break
    end
    local ticket = redis.call('ZSCORE', queue, id)
    drop_waiter(id)
    local token
    if alone then
      token = seat_one(id, text, expiry - now, true)
    else
      token = seat_reader(id, text, expiry - now, true)
    end
    tell(text, 'G ' .. id .. ' ' .. string.format('%.0f', tonumber(ticket)) .. ' ' .. token)
    moved = true
  end
  if moved then
    redis.call('PUBLISH', stir, '')
  end
end

-- Whether clients that poll, and leave no trace while they do, are owed a moment in which nobody holds.
-- The caller tells the head of the queue to ask again.
local function make_room()
  if not foreign or kind ~= 'free' then
    return
  end
  local every = 10000
  if seen > now then
    every = 1000
  end
  if now - math.max(busy, gap) < every then
    return
  end
  if head() then
    gap = now + GAP
    redis.call('HSET', seat, 'g', gap)
  end
end
