-- Takes a lease, unless another holder has it. Returns its fence, or 0.
local member, holder, lease_ms = unpack(ARGV)
local current = redis.call('HGET', key('lease', member), 'holder')
if current and current ~= holder then return 0 end
local fence = redis.call('INCR', 'seqserve:fence')
local last_fence = tonumber(redis.call('HGET', key('session', member), 'fence') or 0)
if fence <= last_fence then  -- Redis has lost the counter: a later fence must be higher all the same
    fence = last_fence + 1
    redis.call('SET', 'seqserve:fence', fence)
end
redis.call('HSET', key('lease', member), 'holder', holder, 'fence', fence)
redis.call('PEXPIRE', key('lease', member), lease_ms)
if redis.call('EXISTS', key('session', member)) == 1 then
    redis.call('HSET', key('session', member), 'fence', fence)
end
extend(member, tonumber(lease_ms))
return fence
