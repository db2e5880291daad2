-- One page of an index, newest first, filtered by state; looks at no more than `reach` entries.
-- Returns {ids, next cursor or ''}: a page may be short, or empty, and still have a next one.
local index, state, limit, before, reach = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local top = before == '' and '+inf' or '(' .. before
local entries = redis.call('ZREVRANGEBYSCORE', KEYS[1] .. index, top, '-inf', 'WITHSCORES', 'LIMIT', 0, reach)
local ids = {}
for at = 1, #entries, 2 do
  local found = redis.call('HGET', name('job', entries[at]), 'state')
  if not found then
    redis.call('ZREM', KEYS[1] .. index, entries[at])
  elseif state == '' or found == state then
    table.insert(ids, entries[at])
  end
  if #ids == limit then return {ids, at + 1 < #entries and entries[at + 1] or ''} end
end
return {ids, #entries == 2 * reach and entries[#entries] or ''}
