-- Save a style (text given) or delete one (text empty); the pictures that it names are kept while it is.
-- Returns {'saved'}, {'many'} when the owner has `most` already, a refusal of `unnameable`, {'deleted'}, or {'none'} when
-- the owner has no such style.
local id, owner, text, inputs, most, max_bytes = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local sizes, revived = by_sha(ARGV[8]), by_sha(ARGV[9])
local list = name('styles', owner)

if text == '' then
  local known = redis.call('HMGET', name('style', id), 'owner', 'inputs')
  if known[1] ~= owner then return {'none'} end
  redis.call('ZREM', list, id)
  count_inputs(owner, known[2], -1)
  note_dropped(known[2], function() return true end)
  redis.call('DEL', name('style', id))
  return {'deleted'}
end
if redis.call('EXISTS', name('style', id)) == 1 then return {'saved'} end
if redis.call('ZCARD', list) >= most then return {'many'} end
local refused = unnameable(owner, inputs, sizes, max_bytes, revived)
if refused then return refused end
redis.call('HSET', name('style', id), 'owner', owner, 'inputs', inputs, 'text', text)
redis.call('ZADD', list, redis.call('INCR', name('arrivals')), id)
name_inputs(owner, inputs, sizes)
return {'saved'}
