-- Creates a session unless a live one has its key. Returns whether it did, and the session that is stored.
local member, owner, id, body, model, digest, position, ttl_s = unpack(ARGV)
if redis.call('EXISTS', key('body', member)) == 1 then return {0, read(member, 0)} end
save(member, owner, id, body, model, digest, position, ttl_s, stamp(now_s))
redis.call('HSET', key('session', member), 'fence', redis.call('HGET', key('lease', member), 'fence') or 0)
return {1, read(member, 0)}
