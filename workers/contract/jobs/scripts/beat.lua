-- Renew a lease and note the progress. Returns {held, cancel, expired} as 0 or 1.
local id, token, lease, progress = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local job = held(id, token)
if not job then return {0, 0, 0} end
redis.call('ZREM', LEASES, id)
redis.call('ZADD', LEASES, whole(NOW + lease), id)
redis.call('HSET', name('job', id), 'lease', whole(NOW + lease))
if progress ~= '' and redis.call('HGET', name('job', id), 'progress') ~= progress then
  redis.call('HSET', name('job', id), 'progress', progress)
  note_change(id)
end
return {1, job.state == 'canceling' and 1 or 0, job.late and 1 or 0}
