-- Give the next job of a queue to a worker: interactive before batch, owners in turn, each owner's jobs as they came.
-- With a batch key only when that next job has it: nobody is passed over. A job that was tried before joins no batch:
-- if it ends its worker, it takes nobody with it.
-- Returns the record, or nil when nothing waits.
local queue, worker, lease, max_attempts, batch_key = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local known, looks, LOOKS_EACH = tonumber(ARGV[7]), 2000, 1000 -- records looked at, in all and of one owner

-- An owner's place in the queue is of a job whose record is gone.
local function dequeue_missing(id, priority, owner)
  redis.call('ZREM', owner_queue_of(priority, queue, owner), id)
  redis.call('ZREM', name('line', priority, queue), id)
  if redis.call('HINCRBY', ACTIVE, owner, -1) <= 0 then redis.call('HDEL', ACTIVE, owner) end
  redis.call('ZREM', name('list', owner), id)
  forget_missing(id)
  index_owner(priority, queue, owner)
end

-- The first job of an owner that this worker knows how to read; those of newer versions stay where they are.
local function first_of(priority, owner)
  local owner_queue = owner_queue_of(priority, queue, owner)
  for _, id in ipairs(redis.call('ZRANGE', owner_queue, 0, math.min(looks, LOOKS_EACH) - 1)) do
    looks = looks - 1
    local job = read(id)
    if not job then
      dequeue_missing(id, priority, owner)
    elseif tonumber(job.version or 1) <= known then
      return job
    end
    if looks <= 0 then return nil end
  end
  if redis.call('EXISTS', owner_queue) == 0 then
    redis.call('ZREM', rotation_of(priority, queue), owner)
    index_owner(priority, queue, owner)
  end
  return nil
end

local function first(priority)
  for _, owner in ipairs(redis.call('ZRANGE', rotation_of(priority, queue), 0, looks - 1)) do
    local job = first_of(priority, owner)
    if job or looks <= 0 then return job end
  end
  return nil
end

apply_deadlines(100)
apply_leases(100, max_attempts)
local job = first('interactive') or first('batch')
if not job or (batch_key ~= '' and (job.company ~= batch_key or job.attempts > 0)) then return nil end
dequeue(job)
local rotation, turn = rotation_of(job.priority, queue), redis.call('INCR', name('turn'))
redis.call('HSET', name('served', job.priority, queue), job.owner, turn)
if redis.call('ZSCORE', rotation, job.owner) then redis.call('ZADD', rotation, turn, job.owner) end
index_owner(job.priority, queue, job.owner)
redis.call('HDEL', name('job', job.id), 'progress')
if job.attempts > 0 then count('redelivered', 1) end
local batch_leader = batch_key ~= '' and redis.call('HGET', name('leads'), worker) or job.id
if batch_leader == job.id then redis.call('HSET', name('leads'), worker, batch_leader) end
redis.call('HSET', name('job', job.id),
  'lead', batch_leader, 'mates', 0, 'state', 'running', 'token', job.token + 1, 'attempts', job.attempts + 1,
  'worker', worker, 'started', whole(NOW), 'lease', whole(NOW + lease))
if redis.call('EXISTS', name('job', batch_leader)) == 1 then
  redis.call('HINCRBY', name('job', batch_leader), 'mates', 1)
end
redis.call('ZADD', LEASES, whole(NOW + lease), job.id)
redis.call('HINCRBY', name('running'), job.method, 1)
note_change(job.id)
return record(job.id)
