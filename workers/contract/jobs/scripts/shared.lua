-- The shared part of every script: names of keys, the clock, and the moves of a job between its states.
--
-- KEYS[1] is the prefix of all keys, ARGV[1] the time in milliseconds ('' = the clock of Redis). Keys:
--   job:<id>                        hash    the record
--   all, list:<owner>               zset    id -> number of arrival, for paging
--   idem:<owner>                    hash    idempotency key -> id
--   ready:<priority>:<queue>:<owner> zset   id -> number of arrival: queued jobs of one owner
--   turns:<priority>:<queue>        zset    owner -> turn: who is served next
--   served:<priority>:<queue>       hash    owner -> turn of its last service
--   line:<priority>:<queue>         zset    id -> time of arrival: all queued jobs of one priority and queue
--   depth:<priority>:<queue>        hash    owner -> its queued jobs, as counted in the next two; see index_owner
--   depths:<priority>:<queue>       hash    number of queued jobs -> owners who have so many
--   turns_at:<priority>:<queue>:<n> zset    owner -> turn: those who have n queued jobs
--   preview:<id>                    text    a running job's newest preview, JPEG in base64
--   waiting                         zset    id -> time of the next wake-up: all queued jobs
--   leases                          zset    id -> end of the lease: running and canceling jobs
--   deadlines                       zset    id -> deadline: queued and running jobs
--   finished                        zset    id -> time of finishing
--   hooks                           zset    id -> when its webhook is called next: final jobs
--   hooklog:<id>, hooksecret        list, text   see outbox.lua and outbox.py
--   running                         hash    method -> jobs running
--   inputs, inputs:<owner>          hash    sha256 -> jobs and styles that use that input
--   held:<owner>, bytes             hash    sha256 -> bytes of an input that the owner's jobs and styles use; owner -> sum
--   doomed                          zset    see admission.lua
--   deleted                         zset    sha256 -> number of deletion: pictures of styles and jobs deleted last
--   group:<id>, groups:<owner>      text    a comparison, as JSON; zset id -> number of arrival, for paging
--   style:<id>, styles:<owner>      hash    a saved style; zset id -> number of arrival, for paging
--   counts                          hash    for metrics: 'finished <method> <state> <reason>', 'lost', 'redelivered',
--                                           'eta <bucket>', 'eta sum' (milliseconds)
--   active                          hash    owner -> jobs that are not final
--   leads                           hash    worker -> the job it claimed alone last: those claimed after it are of its batch
--   changes                         stream  ids of jobs that changed, newest last; see `changes` in report.py
--   queues                          set     every queue seen
--   keys                            hash    id -> an API key, as JSON; see app/auth/key_store.py
--   arrivals, turn                  numbers
--
-- Under a full Redis (noeviction) a script is refused at its first write that needs memory. Every move but submit
-- therefore starts with a removal, which is always let through: a full Redis takes no new jobs but finishes those it has.

local function name(...) return KEYS[1] .. table.concat({...}, ':') end
local function whole(number) return string.format('%.0f', number) end

local LEASES, WAITING, DEADLINES, FINISHED = name('leases'), name('waiting'), name('deadlines'), name('finished')
local ACTIVE = name('active')
local NEVER = 1e12 -- more than turns will ever be taken
local CHANGES = 1000 -- entries of the stream that are kept, about
local POISON = '{"code":"poison","detail":"the job ended its worker at every attempt"}'
local LATE = '{"code":"deadline","detail":"the deadline passed before the job was done"}'

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local NOW = clock()

local FIELDS = {
  'owner', 'queue', 'priority', 'method', 'company', 'state', 'token', 'attempts', 'arrival', 'created', 'deadline',
  'finished', 'webhook', 'version'}

-- The fields that decide, as a table; nil when there is no such job.
local function read(id)
  local values = redis.call('HMGET', name('job', id), unpack(FIELDS))
  if not values[6] then return nil end
  local job = {id = id}
  for index, field in ipairs(FIELDS) do job[field] = values[index] or nil end
  job.token, job.attempts = tonumber(job.token), tonumber(job.attempts)
  job.late = job.deadline ~= nil and tonumber(job.deadline) <= NOW
  return job
end

local function count(what, times) redis.call('HINCRBY', name('counts'), what, times) end

-- Tell those who follow a job that its state, progress or preview is another now.
local function note_change(id) redis.call('XADD', name('changes'), 'MAXLEN', '~', CHANGES, '*', 'job', id) end

-- The record of a job is gone: so are its places, as far as they can be known without it.
local function forget_missing(id)
  local was_running = redis.call('ZREM', LEASES, id) == 1
  for _, index in ipairs({WAITING, DEADLINES, FINISHED, name('all'), name('hooks')}) do redis.call('ZREM', index, id) end
  redis.call('DEL', name('preview', id), name('hooklog', id))
  if was_running then -- of which method is not known any more: count anew
    redis.call('DEL', name('running'))
    for _, other in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
      local method = redis.call('HGET', name('job', other), 'method')
      if method then redis.call('HINCRBY', name('running'), method, 1) end
    end
  end
  count('unreadable missing', 1)
end

local function record(id) return redis.call('HGETALL', name('job', id)) end

-- The job, if it is still held under this token; else nil.
local function held(id, token)
  local job = read(id)
  if job and job.token == tonumber(token) and (job.state == 'running' or job.state == 'canceling') then return job end
  return nil
end

local function rotation_of(priority, queue) return name('turns', priority, queue) end
local function owner_queue_of(priority, queue, owner) return name('ready', priority, queue, owner) end

-- Count an owner among those who have as many queued jobs, by turn, so that a position is told without looking at every
-- owner. To be called after each change of its queue or turn. Scripts of the release before do not call it: what they
-- leave wrong is found when the sums are compared, see position.lua.
local function index_owner(priority, queue, owner)
  local depth, depths = name('depth', priority, queue), name('depths', priority, queue)
  local before = redis.call('HGET', depth, owner)
  local turn = redis.call('ZSCORE', rotation_of(priority, queue), owner)
  local jobs = turn and whole(redis.call('ZCARD', owner_queue_of(priority, queue, owner))) or '0'
  if before and before ~= jobs then
    redis.call('ZREM', name('turns_at', priority, queue, before), owner)
    if redis.call('HINCRBY', depths, before, -1) <= 0 then redis.call('HDEL', depths, before) end
  end
  if jobs == '0' then return redis.call('HDEL', depth, owner) end
  redis.call('ZADD', name('turns_at', priority, queue, jobs), turn, owner)
  if before ~= jobs then
    redis.call('HINCRBY', depths, jobs, 1)
    redis.call('HSET', depth, owner, jobs)
  end
end

local function dequeue(job)
  local owner_queue = owner_queue_of(job.priority, job.queue, job.owner)
  redis.call('ZREM', owner_queue, job.id)
  redis.call('ZREM', name('line', job.priority, job.queue), job.id)
  redis.call('ZREM', WAITING, job.id)
  if redis.call('EXISTS', owner_queue) == 0 then
    redis.call('ZREM', rotation_of(job.priority, job.queue), job.owner)
  end
  index_owner(job.priority, job.queue, job.owner)
end

local function leave_worker(job)
  redis.call('DEL', name('preview', job.id))
  redis.call('HDEL', name('job', job.id), 'preview')
  redis.call('ZREM', LEASES, job.id)
  if redis.call('HINCRBY', name('running'), job.method, -1) <= 0 then
    redis.call('HDEL', name('running'), job.method)
  end
end

local function leave(job)
  if job.state == 'queued' then dequeue(job) else leave_worker(job) end
end

-- Into the queue of its owner, at the place of its arrival. An owner without queued jobs comes before all that were
-- served after it, and before everybody when it was never served.
local function enqueue(job, wake_at)
  local rotation = rotation_of(job.priority, job.queue)
  redis.call('ZADD', owner_queue_of(job.priority, job.queue, job.owner), job.arrival, job.id)
  redis.call('ZADD', name('line', job.priority, job.queue), job.created, job.id)
  redis.call('ZADD', WAITING, whole(wake_at), job.id)
  if not redis.call('ZSCORE', rotation, job.owner) then
    local last_served = redis.call('HGET', name('served', job.priority, job.queue), job.owner)
    redis.call('ZADD', rotation, last_served or redis.call('INCR', name('turn')) - NEVER, job.owner)
  end
  index_owner(job.priority, job.queue, job.owner)
end

-- Back from a worker into its queue, to be woken by the next sweep; `last` puts it behind its owner's other jobs.
local function requeue(job, attempts, last)
  leave(job)
  if last then
    job.arrival = redis.call('INCR', name('arrivals'))
    redis.call('HSET', name('job', job.id), 'arrival', job.arrival)
  end
  redis.call('HDEL', name('job', job.id), 'worker', 'lease', 'started', 'progress')
  redis.call('HSET', name('job', job.id), 'state', 'queued', 'attempts', attempts)
  enqueue(job, NOW)
  note_change(job.id)
end

-- An owner's input is no longer counted among the bytes that the owner may hold.
local function drop_bytes(owner, sha)
  local size = redis.call('HGET', name('held', owner), sha)
  if not size then return end
  redis.call('HDEL', name('held', owner), sha)
  if redis.call('HINCRBY', name('bytes'), owner, -size) <= 0 then redis.call('HDEL', name('bytes'), owner) end
end

-- Note that an owner's job or style names these input pictures (change 1), or no longer does (-1).
local function count_inputs(owner, inputs, change)
  for sha in string.gmatch(inputs, '%S+') do
    local left
    for _, key in ipairs({name('inputs'), name('inputs', owner)}) do
      left = redis.call('HINCRBY', key, sha, change)
      if left <= 0 then redis.call('HDEL', key, sha) end
    end
    if left <= 0 then drop_bytes(owner, sha) end
  end
end

-- Into a final state; `field` (result or failure) and its value are optional.
local function finish(job, state, field, value)
  leave(job)
  redis.call('ZREM', DEADLINES, job.id)
  if redis.call('HINCRBY', ACTIVE, job.owner, -1) <= 0 then redis.call('HDEL', ACTIVE, job.owner) end
  redis.call('HDEL', name('job', job.id), 'lease')
  redis.call('HSET', name('job', job.id), 'state', state, 'finished', whole(NOW))
  if field then redis.call('HSET', name('job', job.id), field, value) end
  redis.call('ZADD', FINISHED, whole(NOW), job.id)
  if job.webhook then redis.call('ZADD', name('hooks'), whole(NOW), job.id) end
  local reason = field == 'failure' and cjson.decode(value).code or 'none'
  count(table.concat({'finished', job.method, state, reason}, ' '), 1)
  note_change(job.id)
end

-- Whether an owner is an API key that was revoked: other processes may learn of that only seconds later.
local function is_revoked(owner)
  local readable, key = pcall(cjson.decode, redis.call('HGET', name('keys'), owner) or '{}')
  return readable and type(key) == 'table' and key.revoked_at ~= nil and key.revoked_at ~= cjson.null
end

local function due(index, limit)
  return redis.call('ZRANGEBYSCORE', index, '-inf', whole(NOW), 'LIMIT', 0, limit)
end

-- Fail up to `limit` jobs whose deadline passed; returns how many.
local function apply_deadlines(limit)
  local late = due(DEADLINES, limit)
  for _, id in ipairs(late) do
    local job = read(id)
    if job then finish(job, 'failed', 'failure', LATE) else forget_missing(id) end
  end
  return #late
end

-- Take up to `limit` jobs whose lease ended from their workers; returns how many ended and how many were poison.
local function apply_leases(limit, max_attempts)
  local ended, poison = due(LEASES, limit), 0
  for _, id in ipairs(ended) do
    local job = read(id)
    if not job then
      forget_missing(id)
    elseif job.state == 'canceling' then
      finish(job, 'canceled')
    elseif job.attempts >= max_attempts then
      finish(job, 'failed', 'failure', POISON)
      poison = poison + 1
    else
      requeue(job, job.attempts)
    end
  end
  if #ended > 0 then count('lost', #ended) end
  return #ended, poison
end
