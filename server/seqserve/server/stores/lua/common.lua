-- Shared by all scripts; redis_scripts.py puts it before each of them.

local function key(kind, name) return 'seqserve:' .. kind .. ':' .. name end
local time = redis.call('TIME')
local now_s = tonumber(time[1]) + tonumber(time[2]) / 1e6
local now_ms = math.floor(now_s * 1000)

-- Formats a unix time in seconds.
local function stamp(s) return string.format('%.6f', s) end

-- Returns the bytes of an owner's bodies. Data that an earlier version wrote has no such count: it is made here.
local function owner_bytes(owner)
    local bytes = redis.call('GET', key('owner-bytes', owner))
    if bytes then return tonumber(bytes) end
    bytes = 0
    local prefix = string.len(owner) .. ':' .. owner .. ':'
    for _, id in ipairs(redis.call('ZRANGE', key('owner', owner), 0, -1)) do
        bytes = bytes + tonumber(redis.call('HGET', key('session', prefix .. id), 'size') or 0)
    end
    redis.call('SET', key('owner-bytes', owner), bytes)
    return bytes
end

-- Returns the limit that a session would exceed which adds to the store, or false. '' is no limit.
local function exceeded(owner, count, bytes, count_max, bytes_max, owner_count_max, owner_bytes_max)
    if count <= 0 and bytes <= 0 then return false end
    if count_max ~= '' and redis.call('ZCARD', 'seqserve:expiry') + count > tonumber(count_max) then
        return 'count_max'
    end
    if bytes_max ~= '' and tonumber(redis.call('GET', 'seqserve:bytes') or 0) + bytes > tonumber(bytes_max) then
        return 'bytes_max'
    end
    if owner_count_max ~= '' and redis.call('ZCARD', key('owner', owner)) + count > tonumber(owner_count_max) then
        return 'owner_count_max'
    end
    if owner_bytes_max ~= '' and owner_bytes(owner) + bytes > tonumber(owner_bytes_max) then
        return 'owner_bytes_max'
    end
    return false
end

-- Adds to the bytes of an owner, if they are counted.
local function count_owner_bytes(owner, bytes)
    if redis.call('EXISTS', key('owner-bytes', owner)) == 0 then return end
    if redis.call('INCRBY', key('owner-bytes', owner), bytes) <= 0 then redis.call('DEL', key('owner-bytes', owner)) end
end

-- Splits a member into owner and id.
local function split(member)
    local colon = string.find(member, ':', 1, true)
    local length = tonumber(string.sub(member, 1, colon - 1))
    return string.sub(member, colon + 1, colon + length), string.sub(member, colon + length + 2)
end

-- Returns whether Redis has lost a part of a live session, as it does when it evicts keys. The body expires by itself; the
-- 5 ms are for the rounding of times.
local function damaged(member)
    local fields = redis.call('HMGET', key('session', member), 'id', 'expires_s')
    if redis.call('EXISTS', key('body', member)) == 1 then return not fields[1] end
    return fields[2] and now_s < tonumber(fields[2]) - 0.005
end

-- Removes a session from the indices. It may be damaged: what is known of it is taken from its name.
local function unindex(member)
    local owner, id = split(member)
    redis.call('ZREM', key('owner', owner), id)
    if redis.call('ZREM', 'seqserve:expiry', member) == 0 then return end
    local fields = redis.call('HMGET', key('session', member), 'digest', 'size')
    if fields[1] then redis.call('SREM', key('digest', fields[1]), member) end
    local size = fields[2] or redis.call('STRLEN', key('body', member))
    redis.call('DECRBY', 'seqserve:bytes', size)
    count_owner_bytes(owner, -size)
end

-- Sets when a session expires, in milliseconds from now.
local function expire(member, in_ms)
    redis.call('PEXPIREAT', key('body', member), now_ms + in_ms)
    redis.call('ZADD', 'seqserve:expiry', now_ms + in_ms, member)
    redis.call('HSET', key('session', member), 'expires_s', stamp((now_ms + in_ms) / 1000))
end

-- Stores a session. What may run out of memory comes first, so that a failure has changed nothing.
local function save(member, owner, id, body, model, digest, position, ttl_s, created_s)
    redis.call('SET', key('body', member), body)
    unindex(member)
    redis.call('HSET', key('session', member), 'owner', owner, 'id', id, 'model', model, 'digest', digest,
        'position', position, 'ttl_s', ttl_s, 'created_s', created_s, 'updated_s', stamp(now_s), 'size', #body)
    redis.call('PERSIST', key('session', member))
    redis.call('ZADD', key('owner', owner), 0, id)
    redis.call('SADD', key('digest', digest), member)
    redis.call('INCRBY', 'seqserve:bytes', #body)
    count_owner_bytes(owner, #body)
    expire(member, math.max(1, math.floor(tonumber(ttl_s) * 1000)))
end

-- Extends the life of a session that is leased: it must not expire while a request advances it.
local function extend(member, in_ms)
    if damaged(member) then return end
    local remaining_ms = redis.call('PTTL', key('body', member))
    if remaining_ms >= 0 and remaining_ms < in_ms then expire(member, in_ms) end
end

-- Returns a session's fields, with the body last.
local function record(member, body)
    local session = redis.call('HMGET', key('session', member),
        'id', 'model', 'digest', 'position', 'ttl_s', 'created_s', 'updated_s', 'expires_s')
    table.insert(session, body)
    return session
end

-- Returns a live session, a tombstone with an empty body for grace_s after its expiry, 'damaged', or false.
local function read(member, grace_s)
    if damaged(member) then return 'damaged' end
    local body = redis.call('GET', key('body', member))
    if body then return record(member, body) end
    local expires_s = redis.call('HGET', key('session', member), 'expires_s')
    if expires_s and now_s < tonumber(expires_s) + tonumber(grace_s) then return record(member, '') end
    return false
end
