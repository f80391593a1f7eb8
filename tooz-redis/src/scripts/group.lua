-- Steps of one group.
-- KEYS: group sessions [session for join | the set of groups for create and delete | beat… for bury]
-- ARGV: act stir … by act
--   create name
--   delete name member…                               (members known to be dead)
--   join   field session replaces ttl capabilities namesake
--   leave  field session
--   update field session capabilities
--   renew  field session ttl
--   look   most grace most-doubtful
--   bury   grace field…                               (of members without a sign of life)
local group, sessions = KEYS[1], KEYS[2]
local act, stir = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A membership's record: "1", the session, when it ends, when it began. What a newer version wrote is nobody's here, and
-- its version is told: it may be alive.
local function read(text)
  local version = string.match(text or '', '^(%d+) ')
  if version and version ~= '1' then
    return nil, nil, nil, version
  end
  local owner, expiry, began = string.match(text or '', '^1 (%x+) (%d+) (%d+)$')
  if not owner then
    return nil
  end
  return owner, tonumber(expiry), began
end

-- Whether it has no record of ours, or one that has been over for so long.
local function is_doubtful(field, grace)
  local owner, expiry, _, version = read(redis.call('HGET', sessions, field))
  return not version and (not owner or expiry + grace <= now)
end

-- Lets go of records whose members Python has removed, so many at most, when they have been over for so long.
local function sweep(grace, most)
  -- The group's mark of existence is a field, too: there are more records than members.
  if redis.call('HLEN', sessions) < redis.call('HLEN', group) then
    return
  end
  for _, field in ipairs(redis.call('HKEYS', sessions)) do
    if most == 0 then
      return
    end
    if redis.call('HEXISTS', group, field) == 0 and is_doubtful(field, grace) then
      -- That a server refuses to write is no failure of a look.
      redis.pcall('HDEL', sessions, field)
      most = most - 1
    end
  end
end

local function write(field, owner, expiry, began)
  redis.call('HSET', sessions, field, string.format('1 %s %.0f %s', owner, expiry, began))
  if redis.call('PTTL', sessions) < expiry - now + 60000 then
    redis.call('PEXPIRE', sessions, expiry - now + 60000)
  end
end

if act == 'create' then
  -- On a cluster the set of groups is elsewhere, and listed by a step of its own.
  if KEYS[3] then
    redis.call('SADD', KEYS[3], ARGV[3])
  end
  if redis.call('EXISTS', group) == 1 then
    return 0
  end
  redis.call('HSET', group, '__created__', '1')
  redis.call('PUBLISH', stir, '')
  return 1
end

if act == 'look' then
  if redis.call('EXISTS', group) == 0 then
    return 'none'
  end
  if redis.call('HLEN', group) > tonumber(ARGV[3]) then
    -- More than are told: who may be dead, so that the asker makes sure, buries them and looks again.
    local doubtful = {'full'}
    for _, field in ipairs(redis.call('HKEYS', group)) do
      if #doubtful > tonumber(ARGV[5]) then
        break
      end
      if field ~= '__created__' and is_doubtful(field, tonumber(ARGV[4])) then
        doubtful[#doubtful + 1] = field
      end
    end
    return doubtful
  end
  sweep(tonumber(ARGV[4]), tonumber(ARGV[5]))
  local found, newer = {}, 0
  local all = redis.call('HGETALL', group)
  for i = 1, #all, 2 do
    if all[i] ~= '__created__' then
      local owner, expiry, began, version = read(redis.call('HGET', sessions, all[i]))
      if version then
        newer = newer + 1
      else
        found[#found + 1] = {all[i], all[i + 1], owner or '', expiry or 0, tonumber(began or '0')}
      end
    end
  end
  return {now, found, newer}
end

-- Of those who are named with their beats' keys, where this server has them, whoever shows no life is removed.
if act == 'bury' then
  local buried = 0
  for i = 4, #ARGV do
    local beat = KEYS[i - 1]
    local shows_life = beat and redis.call('EXISTS', beat) == 1
    if not shows_life and is_doubtful(ARGV[i], tonumber(ARGV[3])) then
      redis.call('HDEL', sessions, ARGV[i])
      buried = buried + redis.call('HDEL', group, ARGV[i])
    end
  end
  return buried
end

if act == 'delete' then
  if redis.call('EXISTS', group) == 0 then
    if KEYS[3] then
      redis.call('SREM', KEYS[3], ARGV[3])
    end
    return 0
  end
  local dead, unsure = {}, {}
  for i = 4, #ARGV do
    dead[ARGV[i]] = true
  end
  for _, field in ipairs(redis.call('HKEYS', group)) do
    if field ~= '__created__' then
      local owner, expiry, _, version = read(redis.call('HGET', sessions, field))
      if version or owner and expiry > now then
        return 'members'
      end
      if not dead[field] then
        unsure[#unsure + 1] = field
      end
    end
  end
  if #unsure > 0 then
    return unsure
  end
  redis.call('DEL', group, sessions)
  if KEYS[3] then
    redis.call('SREM', KEYS[3], ARGV[3])
  end
  redis.call('PUBLISH', stir, '')
  return 1
end

local field, me = ARGV[3], ARGV[4]
if act == 'join' then
  if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 0 then
    return 'ended'
  end
  if redis.call('EXISTS', group) == 0 then
    return 'none'
  end
  local there = redis.call('HEXISTS', group, field) == 1
  local owner, expiry, began, version = read(redis.call('HGET', sessions, field))
  if version then
    error('the member in ' .. sessions .. ' was written by a newer version (' .. version .. ')')
  end
  local ends = now + tonumber(ARGV[6])
  if owner == me and there then
    write(field, me, ends, began)
    return 1
  end
  if owner and owner ~= me and owner ~= ARGV[5] and expiry > now then
    return 'taken'
  end
  -- Whoever shows life as Python does stands here, unless a session of ours does, or one that this one replaces.
  if there and ARGV[8] == '1' and owner ~= ARGV[5] and (not owner or expiry <= now) then
    return 'taken'
  end
  redis.call('HSET', group, field, ARGV[7])
  write(field, me, ends, string.format('%.0f', now))
  redis.call('PUBLISH', stir, '')
  return 1
end

local owner, expiry, began = read(redis.call('HGET', sessions, field))
if owner ~= me then
  return 0
end
local there = redis.call('HEXISTS', group, field) == 1
if act == 'leave' then
  redis.call('HDEL', sessions, field)
  if there then
    redis.call('HDEL', group, field)
    redis.call('PUBLISH', stir, '')
    return 1
  end
  return 0
end
if not there then
  return 0
end
if act == 'update' then
  if redis.call('HGET', group, field) ~= ARGV[5] then
    redis.call('HSET', group, field, ARGV[5])
    redis.call('PUBLISH', stir, '')
  end
elseif act == 'renew' then
  write(field, me, now + tonumber(ARGV[5]), began)
end
return 1
