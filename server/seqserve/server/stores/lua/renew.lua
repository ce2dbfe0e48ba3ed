-- Extends a lease. Returns 1, or 0 if the lease is lost.
local member, fence, lease_ms = unpack(ARGV)
if redis.call('HGET', key('lease', member), 'fence') ~= fence then return 0 end
redis.call('PEXPIRE', key('lease', member), lease_ms)
extend(member, tonumber(lease_ms))
return 1
