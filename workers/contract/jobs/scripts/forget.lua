-- Delete the record of a final job and its places; its blobs are the caller's to delete.
local function forget(id)
  local values = redis.call('HMGET', name('job', id), 'owner', 'key', 'inputs')
  local owner, key, inputs = unpack(values)
  if not owner then return forget_missing(id) end
  redis.call('ZREM', FINISHED, id)
  redis.call('ZREM', name('all'), id)
  redis.call('ZREM', name('list', owner), id)
  if key ~= '' and redis.call('HGET', name('idem', owner), key) == id then
    redis.call('HDEL', name('idem', owner), key)
  end
  count_inputs(owner, inputs, -1)
  redis.call('ZREM', name('hooks'), id)
  redis.call('DEL', name('job', id), name('preview', id), name('hooklog', id))
end
