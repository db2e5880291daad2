-- Give the next job of a queue to a worker: interactive before batch, owners in turn, each owner's jobs as they came.
-- Returns the record, or nil when nothing waits.
local queue, worker, lease, max_attempts = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local function first(priority)
  local turns = name('turns', priority, queue)
  local owner = redis.call('ZRANGE', turns, 0, 0)[1]
  if not owner then return nil end
  local job = read(redis.call('ZRANGE', name('ready', priority, queue, owner), 0, 0)[1])
  leave_line(job)
  if redis.call('ZSCORE', turns, owner) then redis.call('ZADD', turns, redis.call('INCR', name('turn')), owner) end
  return job
end

apply_deadlines(100)
apply_leases(100, max_attempts)
local job = first('interactive') or first('batch')
if not job then return nil end
redis.call('HDEL', name('job', job.id), 'progress')
redis.call('HSET', name('job', job.id),
  'state', 'running', 'token', job.token + 1, 'attempts', job.attempts + 1, 'worker', worker,
  'started', whole(NOW), 'lease', whole(NOW + lease))
redis.call('ZADD', LEASES, whole(NOW + lease), job.id)
redis.call('HINCRBY', name('running'), job.method, 1)
return record(job.id)
