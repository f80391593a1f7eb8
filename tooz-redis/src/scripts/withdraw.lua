-- Takes a claim out wherever it stands and passes the seat on.
-- KEYS: main seat queue readers void [session]
-- ARGV: claim void-ms ("" without doubt) stir prefix foreign
-- Answers: 1 removed | 0 absent
local main, seat, queue, readers, void, session = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local claim, stir = ARGV[1], ARGV[3]
if ARGV[2] == '' and redis.call('GET', main) == claim and redis.call('EXISTS', queue, readers) == 0 then
  redis.call('DEL', main)
  redis.call('HDEL', seat, 'm', 'c')
  redis.call('PUBLISH', stir, '')
  return 1
end
