-- Give the next job of a queue to a worker: interactive before batch, owners in turn, each owner's jobs as they came.
-- With a company only when that next job is of it: nobody is passed over. A job that was tried before gets no company:
-- if it ends its worker, it takes nobody with it.
-- Returns the record, or nil when nothing waits.
local queue, worker, lease, max_attempts, company = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local known, looks, LOOKS_EACH = tonumber(ARGV[7]), 2000, 1000 -- records looked at, in all and of one owner

-- An owner's place in line is of a job whose record is gone.
local function leave_missing(id, priority, owner)
  redis.call('ZREM', name('ready', priority, queue, owner), id)
  redis.call('ZREM', name('line', priority, queue), id)
  if redis.call('HINCRBY', ACTIVE, owner, -1) <= 0 then redis.call('HDEL', ACTIVE, owner) end
  redis.call('ZREM', name('list', owner), id)
  forget_missing(id)
end

-- The first job of an owner that this worker knows how to read; those of newer versions stay where they are.
local function first_of(priority, owner)
  local ready = name('ready', priority, queue, owner)
  for _, id in ipairs(redis.call('ZRANGE', ready, 0, math.min(looks, LOOKS_EACH) - 1)) do
    looks = looks - 1
    local job = read(id)
    if not job then
      leave_missing(id, priority, owner)
    elseif tonumber(job.version or 1) <= known then
      return job
    end
    if looks <= 0 then return nil end
  end
  if redis.call('EXISTS', ready) == 0 then redis.call('ZREM', name('turns', priority, queue), owner) end
  return nil
end

local function first(priority)
  for _, owner in ipairs(redis.call('ZRANGE', name('turns', priority, queue), 0, looks - 1)) do
    local job = first_of(priority, owner)
    if job or looks <= 0 then return job end
  end
  return nil
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
