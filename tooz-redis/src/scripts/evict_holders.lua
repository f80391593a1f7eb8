prefix, foreign = ARGV[2], ARGV[3] == '1'
local force, named, met = ARGV[4] == '1', {}, {}
for i = 5, #ARGV do
  named[ARGV[i]] = true
end
local function meant(id)
  return #ARGV < 5 or named[id]
end

enter()
if kind == 'one' and meant(value) then
  met[1] = value
  if force then
    tell(record, 'X ' .. value)
    redis.call('DEL', main)
    redis.call('HDEL', seat, 'm', 'c')
    kind, value = 'free', false
  else
    redis.call('HSET', seat, 'n', value)
    tell(record, 'E ' .. value)
  end
elseif kind == 'foreign' and meant(value) and force then
  met[1] = value
  redis.call('DEL', main)
  kind, value = 'free', false
elseif kind == 'shared' then
  prune()
  for _, id in ipairs(redis.call('ZRANGE', readers, 0, -1)) do
    if meant(id) then
      met[#met + 1] = id
      local text = redis.call('HGET', seat, 'c:' .. id)
      if force then
        tell(text, 'X ' .. id)
        drop_reader(id)
      else
        redis.call('HSET', seat, 'n:' .. id, '1')
        tell(text, 'E ' .. id)
      end
    end
  end
  prune()
  if force and #met > 0 and kind == 'shared' then
    shorten()
  end
end
if force and #met > 0 then
  pass_on()
  local first = head()
  if first and kind ~= 'one' then
    -- It may stand behind others than before, or a free seat was not handed to it.
    ask_again(first)
  end
  redis.call('PUBLISH', stir, '')
end
return met
