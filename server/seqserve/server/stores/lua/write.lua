-- Replaces the session that was created at created_s. Returns it, 'gone', 'lost' if a higher fence was given out,
-- 'full' if it would exceed a limit, or 'damaged'.
local member, owner, id, body, model, digest, position, ttl_s, created_s, fence, bytes_max,
    owner_bytes_max = unpack(ARGV)
local existing = redis.call('HMGET', key('session', member), 'created_s', 'fence')
local lost = damaged(member)
if lost and not existing[1] then return 'damaged' end  -- if only the body is lost, this one replaces it
if existing[1] ~= created_s or not (lost or redis.call('EXISTS', key('body', member)) == 1) then return 'gone' end
if tonumber(existing[2] or 0) > tonumber(fence) then return 'lost' end
if ttl_s == '' then ttl_s = redis.call('HGET', key('session', member), 'ttl_s') end
local growth = #body - tonumber(redis.call('HGET', key('session', member), 'size') or 0)
if exceeded(owner, 0, growth, '', bytes_max, '', owner_bytes_max) then return 'full' end
save(member, owner, id, body, model, digest, position, ttl_s, created_s)
return read(member, 0)
