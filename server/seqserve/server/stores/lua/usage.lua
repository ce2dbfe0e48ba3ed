-- Returns how many sessions are indexed, and the bytes of their bodies.
return {redis.call('ZCARD', 'seqserve:expiry'), math.max(0, tonumber(redis.call('GET', 'seqserve:bytes') or 0))}
