prefix, foreign = ARGV[2], ARGV[3] == '1'
local first = 0
if ARGV[1] == '1' then
  first = 1
  if redis.call('EXISTS', KEYS[1]) == 0 then
    return 'ended'
  end
end

local function renew(claim, ttl)
  enter()
  local state = 0
  local score = kind == 'shared' and tonumber(redis.call('ZSCORE', readers, claim) or '0') or 0
  if kind == 'one' and value == claim then
    redis.call('PEXPIRE', main, ttl)
    redis.call('PEXPIRE', seat, DAY)
    state = last
    if redis.call('HGET', seat, 'n') == claim then
      state = -state
    end
  elseif score > now then
    redis.call('ZADD', readers, math.max(score, now + ttl), claim)
    keep(main, ttl)
    keep(readers, ttl + LONE)
    keep(seat, DAY)
    state = tonumber(string.match(redis.call('HGET', seat, 'h:' .. claim) or '', '^(%d+) ')) or 0
    if redis.call('HEXISTS', seat, 'n:' .. claim) == 1 then
      state = -state
    end
  elseif redis.call('ZSCORE', queue, claim) and redis.call('HEXISTS', seat, 'c:' .. claim) == 1 then
    redis.call('HSET', seat, 'e:' .. claim, now + ttl)
    keep(queue, DAY)
    keep(seat, DAY)
    state = 1
    pass_on()
    if kind == 'one' and value == claim then
      state = last
    elseif kind == 'shared' then
      state = tonumber(string.match(redis.call('HGET', seat, 'h:' .. claim) or '', '^(%d+) ')) or 1
    end
  end
  return state
end

local found, refusal = {}, nil
for i = 0, (#KEYS - first) / 4 - 1 do
  main, seat, queue, readers = unpack(KEYS, first + i * 4 + 1, first + i * 4 + 4)
  stir = ARGV[i * 3 + 6]
  -- One seat that cannot be read must not cost the others their beat.
  local ok, state = pcall(renew, ARGV[i * 3 + 4], tonumber(ARGV[i * 3 + 5]))
  if not ok then
    -- But a server that refuses to write has not taken anything away.
    local said = type(state) == 'table' and state.err or tostring(state)
    for _, code in ipairs({'OOM', 'READONLY', 'MISCONF', 'NOREPLICAS', 'MASTERDOWN'}) do
      if string.find(said, code .. ' ', 1, true) then
        refusal = code .. ' the beat was refused'
      end
    end
  end
  found[#found + 1] = ok and state or 0
end
if refusal then
  return redis.error_reply(refusal)
end
return found
