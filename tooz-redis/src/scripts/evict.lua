-- Tells holders to let go, or removes them and passes the seat on.
-- KEYS: main seat queue readers
-- ARGV: stir prefix foreign force claim…   (no claims: all holders)
-- Answers: the claims it dealt with
local main, seat, queue, readers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local stir = ARGV[1]
