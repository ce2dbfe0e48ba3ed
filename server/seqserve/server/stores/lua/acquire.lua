-- Takes a lease, unless another holder has it. Returns its fence, or 0.
local member, holder, lease_ms = unpack(ARGV)
local current = redis.call('HGET', key('lease', member), 'holder')
if current and current ~= holder then return 0 end
local fence = redis.call('INCR', 'seqserve:fence')
redis.call('HSET', key('lease', member), 'holder', holder, 'fence', fence)
redis.call('PEXPIRE', key('lease', member), lease_ms)
if redis.call('EXISTS', key('session', member)) == 1 then
    redis.call('HSET', key('session', member), 'fence', fence)
end
extend(member, tonumber(lease_ms))
return fence
