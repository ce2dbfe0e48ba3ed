-- Returns the last id that was examined, or '' at the end of the list, and the records that match. Damaged
-- sessions are left out.
local owner, prefix, model, after, count, scan_max = unpack(ARGV)
local from = after == '' and '-' or '(' .. after
local ids = redis.call('ZRANGEBYLEX', key('owner', owner), from, '+', 'LIMIT', 0, scan_max)
local records = {}
for _, id in ipairs(ids) do
    local member = prefix .. id
    if model == '' or redis.call('HGET', key('session', member), 'model') == model then
        local body = redis.call('GET', key('body', member))
        if body and not damaged(member) then table.insert(records, record(member, body)) end
    end
    if #records == tonumber(count) then return {id, records} end
end
return {#ids == tonumber(scan_max) and ids[#ids] or '', records}
