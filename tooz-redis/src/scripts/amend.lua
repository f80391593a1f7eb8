-- Replaces the record of a claim that holds.
-- KEYS: main seat queue readers
-- ARGV: claim record stir
-- Answers: 1 done | 0 absent
local main, seat, queue, readers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claim, stir = ARGV[1], ARGV[3]
