-- One page of an index, newest first, of the jobs that a filter lets through; looks at no more than `reach` entries.
-- An empty part of the filter lets all through: state, method, model, first and last time of creation, and pictures, of
-- which a job has to name one.
-- Returns {ids, their numbers of arrival, next cursor or ''}: a page may be short, or empty, and still have a next one.
local index, limit, before, reach = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local state, method, model, first, last, pictures = unpack(ARGV, 6, 11)
local LEEWAY = 3600000 -- milliseconds that the clock of Redis may have been set back between two jobs
local top = before == '' and '+inf' or '(' .. before
local entries = redis.call('ZREVRANGEBYSCORE', KEYS[1] .. index, top, '-inf', 'WITHSCORES', 'LIMIT', 0, reach)
local following = #entries == 2 * reach and entries[#entries] or ''

local function names_picture(inputs)
  for sha in string.gmatch(pictures, '%S+') do
    if string.find(inputs, sha, 1, true) then return true end
  end
  return false
end

local ids, arrivals = {}, {}
for at = 1, #entries, 2 do
  local found = redis.call('HMGET', name('job', entries[at]), 'state', 'method', 'queue', 'created', 'inputs')
  local created = tonumber(found[4] or 0)
  if not found[1] then
    redis.call('ZREM', KEYS[1] .. index, entries[at])
  elseif first ~= '' and created < tonumber(first) - LEEWAY then
    return {ids, arrivals, ''} -- all that follow are older still
  elseif (state == '' or found[1] == state) and (method == '' or found[2] == method)
    and (model == '' or found[3] == model) and (first == '' or created >= tonumber(first))
    and (last == '' or created < tonumber(last)) and (pictures == '' or names_picture(found[5] or '')) then
    table.insert(ids, entries[at])
    table.insert(arrivals, entries[at + 1])
  end
  if #ids == limit then return {ids, arrivals, at + 1 < #entries and entries[at + 1] or following} end
end
return {ids, arrivals, following}
