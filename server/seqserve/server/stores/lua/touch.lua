-- Restarts a session's time to live, with a new one unless ttl_s is ''. Returns what read returns afterwards.
local member, ttl_s, grace_s = unpack(ARGV)
if redis.call('EXISTS', key('body', member)) == 1 and not damaged(member) then
    if ttl_s == '' then ttl_s = redis.call('HGET', key('session', member), 'ttl_s') end
    redis.call('HSET', key('session', member), 'ttl_s', ttl_s)
    expire(member, math.max(1, math.floor(tonumber(ttl_s) * 1000)))
end
return read(member, grace_s)
