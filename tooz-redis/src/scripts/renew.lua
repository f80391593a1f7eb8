-- Renews claims, wherever each stands.
-- KEYS: [session] then main seat queue readers for each claim
-- ARGV: "1" with a session key, prefix foreign, then claim ttl stir for each claim
-- Answers: "ended" | for each claim 0 gone | 1 waits | the token it holds | minus the token when told to let go
local main, seat, queue, readers, stir
