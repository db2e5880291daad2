-- Accept jobs of one owner, all or none, with the group that names them if there is one; or find what was accepted
-- before: the jobs with the same idempotency keys, the group with the same id.
-- Returns for a `single` job {'accepted', time, snapshot} (see estimate.lua) or {'created' | 'known', record}; for
-- several {'accepted', time, ids}; for a group that is there {'group', text}; {'conflict'}; or a refusal: {'full', jobs
-- finished in the last minute}, {'busy', jobs the owner may have}, {'revoked'} and those of `unnameable`. All of the
-- record of an accepted job but its time is the caller's own.
local max_queued, wake_after, max_active, max_bytes = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local sizes, revived = by_sha(ARGV[6]), by_sha(ARGV[7])
local single, group, group_text, group_keep = ARGV[8] == 'single', ARGV[9], ARGV[10], ARGV[11]
local GIVEN = {
  'id', 'owner', 'queue', 'priority', 'method', 'company', 'request', 'digest', 'key', 'deadline', 'inputs', 'kind', 'units',
  'webhook', 'trace', 'version', 'job_kind', 'comparison'}
local OLD_GROUPS = 10 -- that are looked at with each new one, so that the list does not grow with groups that are over
local FIRST = 12 -- of the arguments that describe jobs

local jobs = {}
for at = FIRST, #ARGV, #GIVEN do
  local job = {}
  for index, field in ipairs(GIVEN) do job[field] = ARGV[at + index - 1] end
  table.insert(jobs, job)
end
local owner = jobs[1].owner

if group ~= '' then
  local kept = redis.call('GET', name('group', group))
  if kept then return {'group', kept} end
end

local new, inputs, ids = {}, {}, {}
for at, job in ipairs(jobs) do
  local known = job.key ~= '' and redis.call('HGET', name('idem', owner), job.key) or job.id
  local earlier = redis.call('HMGET', name('job', known), 'digest', 'owner')
  ids[at] = earlier[1] and known or job.id
  if not earlier[1] then
    table.insert(new, job)
    table.insert(inputs, job.inputs)
  elseif earlier[1] ~= job.digest or earlier[2] ~= owner then
    return {'conflict'}
  elseif single then
    -- The same id again is this very submission, sent twice because its first answer was lost.
    return {known == job.id and 'created' or 'known', record(known)}
  end
end
local refused = refusal(owner, #new, max_queued, max_active)
  or unnameable(owner, table.concat(inputs, ' '), sizes, max_bytes, revived)
if refused then return refused end

local function create(job)
  local id, arrival = job.id, redis.call('INCR', name('arrivals'))
  redis.call('HSET', name('job', id),
    'id', id, 'owner', owner, 'queue', job.queue, 'priority', job.priority, 'method', job.method, 'company', job.company,
    'request', job.request, 'digest', job.digest, 'key', job.key, 'inputs', job.inputs, 'arrival', arrival,
    'created', whole(NOW), 'state', 'queued', 'token', 0, 'attempts', 0, 'kind', job.kind, 'units', job.units, 'version', job.version,
    'job_kind', job.job_kind)
  if job.deadline ~= '' then
    redis.call('HSET', name('job', id), 'deadline', job.deadline)
    redis.call('ZADD', DEADLINES, job.deadline, id)
  end
  if job.webhook ~= '' then redis.call('HSET', name('job', id), 'webhook', job.webhook) end
  if job.trace ~= '' then redis.call('HSET', name('job', id), 'trace', job.trace) end
  if job.comparison ~= '' then redis.call('HSET', name('job', id), 'comparison', job.comparison) end
  if job.key ~= '' then redis.call('HSET', name('idem', owner), job.key, id) end
  name_inputs(owner, job.inputs, sizes)
  redis.call('ZADD', name('all'), arrival, id)
  redis.call('ZADD', name('list', owner), arrival, id)
  redis.call('SADD', name('queues'), job.queue)
  redis.call('HINCRBY', ACTIVE, owner, 1)
  enqueue(read(id), NOW + wake_after)
end

for _, job in ipairs(new) do create(job) end
if group ~= '' then
  redis.call('SET', name('group', group), group_text, 'PX', group_keep)
  local list = name('groups', owner)
  for _, old in ipairs(redis.call('ZRANGE', list, 0, OLD_GROUPS - 1)) do
    if redis.call('EXISTS', name('group', old)) == 0 then redis.call('ZREM', list, old) end
  end
  redis.call('ZADD', list, redis.call('INCR', name('arrivals')), group)
end
if not single then return {'accepted', whole(NOW), ids} end -- without estimates: they would be many, and nobody is shown them
return {'accepted', whole(NOW), snapshot(ids)}
