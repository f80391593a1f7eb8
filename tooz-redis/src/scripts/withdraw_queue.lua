prefix, foreign = ARGV[4], ARGV[5] == '1'
-- Of an ended session nothing can land any more.
if ARGV[2] ~= '' and (not session or redis.call('EXISTS', session) == 1) then
  redis.call('SET', void, '1', 'PX', ARGV[2])
end
enter()
local front = redis.call('ZRANGE', queue, 0, 0)[1]
local removed, freed = 0, false
-- The record of the claim, and whoever stands behind it: one of the same session has no timer of its own.
local text, heir
if value == claim and kind ~= 'shared' then
  redis.call('DEL', main)
  redis.call('HDEL', seat, 'm', 'c')
  kind, value, removed, freed = 'free', false, 1, true
elseif redis.call('ZSCORE', readers, claim) then
  if kind == 'shared' then
    removed = 1
    text = redis.call('HGET', seat, 'c:' .. claim)
  end
  drop_reader(claim)
  if kind == 'shared' then
    prune()
    freed = kind == 'free'
    if not freed then
      shorten()
    end
  end
end
local rank = redis.call('ZRANK', queue, claim)
if rank then
  text = redis.call('HGET', seat, 'c:' .. claim)
  drop_waiter(claim)
  removed = 1
  heir = redis.call('ZRANGE', queue, rank, rank)[1]
end
local first = head()
if removed == 1 and kind == 'shared' and not rank then
  heir = first
end
if freed then
  make_room()
end
pass_on()
-- A new head listens, and asks again in time, in its predecessor's stead. So does one that a free seat was not handed to.
local leads = first and (first ~= front or freed and kind == 'free')
if leads then
  ask_again(first)
end
if heir and not (leads and heir == first) then
  ask_again(heir, text or '')
end
if removed == 1 then
  redis.call('PUBLISH', stir, '')
end
return removed
