-- Who holds a seat and who waits for it. Changes nothing.
-- KEYS: main seat queue readers
-- ARGV: most
-- Answers: {now, kind, main's value, main's time left, token, since, record, {reader, expiry, record, hold}, {waiter, expiry, record without value}}
local main, seat, queue, readers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local stir = ''
