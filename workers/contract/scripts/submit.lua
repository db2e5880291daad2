-- Accept a job, or find the one that was accepted for the same idempotency key.
-- Returns {'accepted', time, outlook}, {'created' | 'known', record}, {'conflict'}, {'full', jobs finished in the last
-- minute} or {'busy', jobs the owner may have}. All of the record of an accepted job but its time is the caller's own.
local id, owner, queue, priority, method, company, request, digest, key, deadline, inputs, kind, units, max_active, webhook,
  trace = unpack(ARGV, 2, 17)
local max_queued, wake_after = tonumber(ARGV[18]), tonumber(ARGV[19])

local known = key ~= '' and redis.call('HGET', name('idem', owner), key) or id
local earlier = redis.call('HMGET', name('job', known), 'digest', 'owner')
if earlier[1] then
  if earlier[1] ~= digest or earlier[2] ~= owner then return {'conflict'} end
  -- The same id again is this very submission, sent twice because its first answer was lost.
  return {known == id and 'created' or 'known', record(known)}
end
if redis.call('ZCARD', WAITING) >= max_queued then
  return {'full', redis.call('ZCOUNT', FINISHED, whole(NOW - 60000), '+inf')}
end
if max_active ~= '' and tonumber(redis.call('HGET', ACTIVE, owner) or 0) >= tonumber(max_active) then
  return {'busy', max_active}
end

local arrival = redis.call('INCR', name('arrivals'))
redis.call('HSET', name('job', id),
  'id', id, 'owner', owner, 'queue', queue, 'priority', priority, 'method', method, 'company', company, 'request', request,
  'digest', digest, 'key', key, 'inputs', inputs, 'arrival', arrival, 'created', whole(NOW),
  'state', 'queued', 'token', 0, 'attempts', 0, 'kind', kind, 'units', units)
if deadline ~= '' then
  redis.call('HSET', name('job', id), 'deadline', deadline)
  redis.call('ZADD', DEADLINES, deadline, id)
end
if webhook ~= '' then redis.call('HSET', name('job', id), 'webhook', webhook) end
if trace ~= '' then redis.call('HSET', name('job', id), 'trace', trace) end
if key ~= '' then redis.call('HSET', name('idem', owner), key, id) end
count_inputs(owner, inputs, 1)
redis.call('ZADD', name('all'), arrival, id)
redis.call('ZADD', name('list', owner), arrival, id)
redis.call('SADD', name('queues'), queue)
redis.call('HINCRBY', ACTIVE, owner, 1)
join_line(read(id), NOW + wake_after)
local expected = outlook(read(id))
local to_finish = expected[3]
if to_finish >= 0 then redis.call('HSET', name('job', id), 'promised', whole(NOW + to_finish)) end
return {'accepted', whole(NOW), expected}
