-- Deletes a live session, which may be damaged, and its lease. Returns whether there was one.
local member = ARGV[1]
if redis.call('EXISTS', key('body', member)) == 0 and not damaged(member) then return 0 end
unindex(member)
redis.call('DEL', key('body', member), key('session', member), key('lease', member))
return 1
