prefix, foreign = ARGV[4], ARGV[5] == '1'
-- Of an ended session nothing can land any more.
if ARGV[2] ~= '' and (not session or redis.call('EXISTS', session) == 1) then
  redis.call('SET', void, '1', 'PX', ARGV[2])
end
enter()
local removed, freed = 0, false
if value == claim and kind ~= 'shared' then
  redis.call('DEL', main)
  redis.call('HDEL', seat, 'm', 'c')
  kind, value, removed, freed = 'free', false, 1, true
elseif redis.call('ZSCORE', readers, claim) then
  if kind == 'shared' then
    removed = 1
  end
  drop_reader(claim)
  if kind == 'shared' then
    prune()
    freed = kind == 'free'
    if not freed then
      local longest = tonumber(redis.call('ZRANGE', readers, -1, -1, 'WITHSCORES')[2])
      redis.call('PEXPIRE', main, math.max(longest - now, 1))
    end
  end
end
local leads = redis.call('EXISTS', queue) == 1 and head() == claim
local rank = redis.call('ZRANK', queue, claim)
if rank then
  drop_waiter(claim)
  removed = 1
end
if freed then
  make_room()
end
pass_on()
if leads then
  -- The new head listens, and asks again in time, in its predecessor's stead.
  local id, text = head()
  if id then
    tell(text, 'A ' .. id)
  end
end
if removed == 1 then
  redis.call('PUBLISH', stir, '')
end
return removed
