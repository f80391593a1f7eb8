enter()
local most = tonumber(ARGV[1]) - 1
local held, waiting = {}, {}
if kind == 'shared' then
  local found = redis.call('ZRANGEBYSCORE', readers, '(' .. now, '+inf', 'LIMIT', 0, most + 1)
  for _, id in ipairs(found) do
    local known = redis.call('HMGET', seat, 'c:' .. id, 'h:' .. id)
    held[#held + 1] = {id, redis.call('ZSCORE', readers, id), known[1] or '', known[2] or ''}
  end
end
for _, id in ipairs(redis.call('ZRANGE', queue, 0, most)) do
  local known = redis.call('HMGET', seat, 'c:' .. id, 'e:' .. id)
  local expiry = tonumber(known[2] or '0') or 0
  if known[1] and expiry > now then
    -- Without the value, which nobody reads of those who wait: it may be long.
    local length = string.match(known[1], '^%d%d%d', 45) or '0'
    waiting[#waiting + 1] = {id, expiry, string.sub(known[1], 1, 47 + tonumber(length))}
  end
end
local since = tonumber(redis.call('HGET', seat, 's') or '0') or 0
return {now, kind, value or '', redis.call('PTTL', main), last, since, record or '', held, waiting}
