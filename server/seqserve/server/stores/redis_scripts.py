"""What the Redis store asks of Redis: scripts in Lua, each one atomic.

Keys, a session being named by its member, `<bytes of owner>:<owner>:<id>`:

    seqserve:session:<member>   hash: the record without its body; stays as the tombstone until a sweep dates its end
    seqserve:body:<member>      the body; Redis itself forgets it when the session expires
    seqserve:lease:<member>     hash: holder and fence; Redis itself forgets it
    seqserve:owner:<owner>      sorted set: ids, in the order of their bytes
    seqserve:digest:<digest>    set: members
    seqserve:expiry             sorted set: members by expiry, unix time in milliseconds
    seqserve:bytes              bytes of all bodies
    seqserve:fence              the last fence given out, of any session

The time is Redis's, so that replicas need not agree on theirs. Scripts make names of keys, so a Redis Cluster will not
do. What may run out of memory comes first in a script: then nothing has changed when it does.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple


class Script(NamedTuple):
    """A script, and the digest by which Redis knows it once it has seen it."""

    text: str
    sha: str


_COMMON: Final = """
local function key(kind, name) return 'seqserve:' .. kind .. ':' .. name end
local time = redis.call('TIME')
local now_s = tonumber(time[1]) + tonumber(time[2]) / 1e6
local now_ms = math.floor(now_s * 1000)

local function stamp(s) return string.format('%.6f', s) end

local function forget(member)  -- takes it out of the indices
    if redis.call('ZREM', 'seqserve:expiry', member) == 0 then return end
    local was = redis.call('HMGET', key('session', member), 'owner', 'id', 'digest', 'size')
    redis.call('ZREM', key('owner', was[1]), was[2])
    redis.call('SREM', key('digest', was[3]), member)
    redis.call('DECRBY', 'seqserve:bytes', was[4])
end

local function expire(member, in_ms)
    redis.call('PEXPIREAT', key('body', member), now_ms + in_ms)
    redis.call('ZADD', 'seqserve:expiry', now_ms + in_ms, member)
    redis.call('HSET', key('session', member), 'expires_s', stamp((now_ms + in_ms) / 1000))
end

local function save(member, owner, id, body, model, digest, position, ttl_s, created_s)
    redis.call('SET', key('body', member), body)
    forget(member)
    redis.call('HSET', key('session', member), 'owner', owner, 'id', id, 'model', model, 'digest', digest,
        'position', position, 'ttl_s', ttl_s, 'created_s', created_s, 'updated_s', stamp(now_s), 'size', #body)
    redis.call('PERSIST', key('session', member))
    redis.call('ZADD', key('owner', owner), 0, id)
    redis.call('SADD', key('digest', digest), member)
    redis.call('INCRBY', 'seqserve:bytes', #body)
    expire(member, math.max(1, math.floor(tonumber(ttl_s) * 1000)))
end

local function keep(member, in_ms)  -- a session that is leased does not expire
    local left_ms = redis.call('PTTL', key('body', member))
    if left_ms >= 0 and left_ms < in_ms then expire(member, in_ms) end
end

local function record(member, body)
    local session = redis.call('HMGET', key('session', member),
        'id', 'model', 'digest', 'position', 'ttl_s', 'created_s', 'updated_s', 'expires_s')
    table.insert(session, body)
    return session
end

local function read(member, grace_s)
    local body = redis.call('GET', key('body', member))
    if body then return record(member, body) end
    local expires_s = redis.call('HGET', key('session', member), 'expires_s')
    if expires_s and now_s < tonumber(expires_s) + tonumber(grace_s) then return record(member, '') end
    return false
end
"""


def _script(text: str) -> Script:
    text = _COMMON + text
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


CREATE: Final = _script("""
local member, owner, id, body, model, digest, position, ttl_s = unpack(ARGV)
if redis.call('EXISTS', key('body', member)) == 1 then return {0, read(member, 0)} end
save(member, owner, id, body, model, digest, position, ttl_s, stamp(now_s))
redis.call('HSET', key('session', member), 'fence', redis.call('HGET', key('lease', member), 'fence') or 0)
return {1, read(member, 0)}
""")

READ: Final = _script("""
return read(ARGV[1], ARGV[2])
""")

ACQUIRE: Final = _script("""
local member, holder, lease_ms = unpack(ARGV)
local there = redis.call('HGET', key('lease', member), 'holder')
if there and there ~= holder then return 0 end
local fence = redis.call('INCR', 'seqserve:fence')
redis.call('HSET', key('lease', member), 'holder', holder, 'fence', fence)
redis.call('PEXPIRE', key('lease', member), lease_ms)
if redis.call('EXISTS', key('session', member)) == 1 then
    redis.call('HSET', key('session', member), 'fence', fence)
end
keep(member, tonumber(lease_ms))
return fence
""")

RENEW: Final = _script("""
local member, fence, lease_ms = unpack(ARGV)
if redis.call('HGET', key('lease', member), 'fence') ~= fence then return 0 end
redis.call('PEXPIRE', key('lease', member), lease_ms)
keep(member, tonumber(lease_ms))
return 1
""")

RELEASE: Final = _script("""
local member, fence = unpack(ARGV)
if redis.call('HGET', key('lease', member), 'fence') == fence then redis.call('DEL', key('lease', member)) end
""")

WRITE: Final = _script("""
local member, owner, id, body, model, digest, position, ttl_s, created_s, fence = unpack(ARGV)
local there = redis.call('HMGET', key('session', member), 'created_s', 'fence')
if there[1] ~= created_s or redis.call('EXISTS', key('body', member)) == 0 then return 'gone' end
if tonumber(there[2]) > tonumber(fence) then return 'lost' end
if ttl_s == '' then ttl_s = redis.call('HGET', key('session', member), 'ttl_s') end
save(member, owner, id, body, model, digest, position, ttl_s, created_s)
return read(member, 0)
""")

TOUCH: Final = _script("""
local member, ttl_s, grace_s = unpack(ARGV)
if redis.call('EXISTS', key('body', member)) == 1 then
    if ttl_s == '' then ttl_s = redis.call('HGET', key('session', member), 'ttl_s') end
    redis.call('HSET', key('session', member), 'ttl_s', ttl_s)
    expire(member, math.max(1, math.floor(tonumber(ttl_s) * 1000)))
end
return read(member, grace_s)
""")

DELETE: Final = _script("""
local member = ARGV[1]
if redis.call('EXISTS', key('body', member)) == 0 then return 0 end
forget(member)
redis.call('DEL', key('body', member), key('session', member), key('lease', member))
return 1
""")

# Returns the last id that was looked at, '' if that was the last one there is, and the records found.
LIST: Final = _script("""
local owner, prefix, model, after, count, look_max = unpack(ARGV)
local from = after == '' and '-' or '(' .. after
local ids = redis.call('ZRANGEBYLEX', key('owner', owner), from, '+', 'LIMIT', 0, look_max)
local found = {}
for _, id in ipairs(ids) do
    local member = prefix .. id
    if model == '' or redis.call('HGET', key('session', member), 'model') == model then
        local body = redis.call('GET', key('body', member))
        if body then table.insert(found, record(member, body)) end
    end
    if #found == tonumber(count) then return {id, found} end
end
return {#ids == tonumber(look_max) and ids[#ids] or '', found}
""")

# Of the sessions whose time is over, the first so many. Returns how many there were.
SWEEP: Final = _script("""
local count, grace_s = unpack(ARGV)
local members = redis.call('ZRANGEBYSCORE', 'seqserve:expiry', '-inf', '(' .. now_ms, 'LIMIT', 0, count)
for _, member in ipairs(members) do
    local end_ms = redis.call('ZSCORE', 'seqserve:expiry', member) + tonumber(grace_s) * 1000
    forget(member)
    redis.call('DEL', key('body', member))
    redis.call('PEXPIREAT', key('session', member), math.floor(end_ms))
end
return #members
""")

USAGE: Final = _script("""
return {redis.call('ZCARD', 'seqserve:expiry'), tonumber(redis.call('GET', 'seqserve:bytes') or 0)}
""")
