-- Give the next job of a queue to a worker: interactive before batch, owners in turn, each owner's jobs as they came.
-- With a company only when that next job is of it: nobody is passed over. A job that was tried before gets no company:
-- if it ends its worker, it takes nobody with it.
-- Returns the record, or nil when nothing waits.
local queue, worker, lease, max_attempts, company = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local function first(priority)
  local owner = redis.call('ZRANGE', name('turns', priority, queue), 0, 0)[1]
  return owner and read(redis.call('ZRANGE', name('ready', priority, queue, owner), 0, 0)[1])
end

apply_deadlines(100)
apply_leases(100, max_attempts)
local job = first('interactive') or first('batch')
if not job or (company ~= '' and (job.company ~= company or job.attempts > 0)) then return nil end
leave_line(job)
local turns, turn = name('turns', job.priority, queue), redis.call('INCR', name('turn'))
redis.call('HSET', name('served', job.priority, queue), job.owner, turn)
if redis.call('ZSCORE', turns, job.owner) then redis.call('ZADD', turns, turn, job.owner) end
redis.call('HDEL', name('job', job.id), 'progress')
if job.attempts > 0 then count('redelivered', 1) end
local lead = company ~= '' and redis.call('HGET', name('leads'), worker) or job.id
if lead == job.id then redis.call('HSET', name('leads'), worker, lead) end
redis.call('HSET', name('job', job.id),
  'lead', lead, 'mates', 0, 'state', 'running', 'token', job.token + 1, 'attempts', job.attempts + 1, 'worker', worker,
  'started', whole(NOW), 'lease', whole(NOW + lease))
if redis.call('EXISTS', name('job', lead)) == 1 then redis.call('HINCRBY', name('job', lead), 'mates', 1) end
redis.call('ZADD', LEASES, whole(NOW + lease), job.id)
redis.call('HINCRBY', name('running'), job.method, 1)
return record(job.id)
