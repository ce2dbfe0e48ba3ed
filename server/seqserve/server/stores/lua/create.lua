-- Creates a session unless a live one has its key. Returns whether it did, and the session that is stored; or 2 and the
-- limit that it would exceed. A damaged session is not replaced.
local member, owner, id, body, model, digest, position, ttl_s, count_max, bytes_max,
    owner_count_max, owner_bytes_max = unpack(ARGV)
if redis.call('EXISTS', key('body', member)) == 1 or damaged(member) then return {0, read(member, 0)} end
local limit = exceeded(owner, 1, #body, count_max, bytes_max, owner_count_max, owner_bytes_max)
if limit then return {2, limit} end
save(member, owner, id, body, model, digest, position, ttl_s, stamp(now_s))
redis.call('HSET', key('session', member), 'fence', redis.call('HGET', key('lease', member), 'fence') or 0)
return {1, read(member, 0)}
