enter()
local field
if kind == 'one' and value == claim then
  field = 'c'
elseif kind == 'shared' and (tonumber(redis.call('ZSCORE', readers, claim) or '0') or 0) > now then
  field = 'c:' .. claim
else
  return 0
end
if redis.call('HGET', seat, field) ~= ARGV[2] then
  redis.call('HSET', seat, field, ARGV[2])
  redis.call('PUBLISH', stir, '')
end
return 1
