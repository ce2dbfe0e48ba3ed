-- Buries the first `count` sessions that have expired: their bodies go, their tombstones stay for grace_s. Returns how many.
local count, grace_s = unpack(ARGV)
local members = redis.call('ZRANGEBYSCORE', 'seqserve:expiry', '-inf', '(' .. now_ms, 'LIMIT', 0, count)
for _, member in ipairs(members) do
    local forget_ms = redis.call('ZSCORE', 'seqserve:expiry', member) + tonumber(grace_s) * 1000
    unindex(member)
    redis.call('DEL', key('body', member))
    redis.call('PEXPIREAT', key('session', member), math.floor(forget_ms))
end
return #members
