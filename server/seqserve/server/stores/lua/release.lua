-- Gives a lease back. Does nothing if it is lost.
local member, fence = unpack(ARGV)
if redis.call('HGET', key('lease', member), 'fence') == fence then redis.call('DEL', key('lease', member)) end
