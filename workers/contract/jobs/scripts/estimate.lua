-- Shared by the scripts that learn or tell how long jobs take. Keys:
--   times        hash   kind of job -> its last durations in milliseconds, and 'method queue' -> the same per unit of work
--   times:used   zset   kind -> when it was learnt last: the oldest is forgotten first
--   workers, workers:until   see workers.lua
-- A kind is technique, model, size, steps and pictures, and how many jobs were done together (see claim.lua); a duration
-- is from claim to commit, waiting apart.

local TIMES, USED = name('times'), name('times:used')
local KEPT_TIMES, KEPT_KINDS, REACH, MOST_TOGETHER = 9, 500, 64, 16
local BUCKETS = {'0.5', '1.0', '2.0', '5.0', '10.0', '20.0', '30.0', '60.0', '120.0', '300.0', '600.0'}

local function numbers(text)
  local found = {}
  for word in string.gmatch(text or '', '%S+') do table.insert(found, tonumber(word)) end
  return found
end

local function median(text)
  local values = numbers(text)
  table.sort(values)
  return values[math.ceil(#values / 2)]
end

local function note(kind, value)
  local values = numbers(redis.call('HGET', TIMES, kind))
  table.insert(values, value)
  while #values > KEPT_TIMES do table.remove(values, 1) end
  for at, each in ipairs(values) do values[at] = string.format('%.3f', each) end
  redis.call('HSET', TIMES, kind, table.concat(values, ' '))
  redis.call('ZADD', USED, whole(NOW), kind)
end

-- How many jobs are done together with a claimed one, itself included.
local function mates_of(id, lead) return tonumber(redis.call('HGET', name('job', lead or id), 'mates') or 1) end

local function together(kind, jobs) return kind .. ' x' .. jobs end

-- Note how long a job that has just succeeded took, and by how much the first promise was off.
local function learn(job)
  local values = redis.call('HMGET', name('job', job.id), 'kind', 'units', 'started', 'promised', 'lead')
  local kind, units, started, promised, lead = unpack(values)
  if not kind or not started then return end
  local took, mates = math.max(0, NOW - tonumber(started)), mates_of(job.id, lead)
  note(together(kind, math.min(mates, MOST_TOGETHER)), took)
  if tonumber(units) > 0 then note(job.method .. ' ' .. job.queue, took / tonumber(units) / mates) end
  for _, forgotten in ipairs(redis.call('ZRANGE', USED, 0, -1 - KEPT_KINDS)) do
    redis.call('ZREM', USED, forgotten)
    redis.call('HDEL', TIMES, forgotten)
  end
  if not promised then return end
  local off, bucket = math.abs(NOW - tonumber(promised)), '+Inf'
  for at = #BUCKETS, 1, -1 do
    if off <= tonumber(BUCKETS[at]) * 1000 then bucket = BUCKETS[at] end
  end
  count('eta ' .. bucket, 1)
  count('eta sum', whole(off))
end

local medians = {}

-- The median of what was noted, looked up once; nil when nothing was.
local function usual(kind)
  if medians[kind] == nil then medians[kind] = median(redis.call('HGET', TIMES, kind)) or false end
  return medians[kind] or nil
end

-- Milliseconds that a job takes once claimed together with others; nil when nothing like it was ever done.
local function expected(job, jobs)
  for at = math.min(jobs, MOST_TOGETHER), 1, -1 do
    local known = job.kind and usual(together(job.kind, at))
    if known then return known * jobs / at end
  end
  local unit = job.method and usual(job.method .. ' ' .. job.queue)
  return unit and job.units and unit * tonumber(job.units) * jobs or nil
end

local capacities = {}

-- The most jobs of a kind that were ever done together.
local function capacity(kind)
  if not capacities[kind] then
    capacities[kind] = 1
    for at = 2, MOST_TOGETHER do
      if usual(together(kind, at)) then capacities[kind] = at end
    end
  end
  return capacities[kind]
end

local ASKED = {'kind', 'units', 'method', 'company', 'queue', 'worker', 'started', 'progress', 'lead', 'attempts'}

local function facts(id)
  local values = redis.call('HMGET', name('job', id), unpack(ASKED))
  local found = {id = id}
  for index, field in ipairs(ASKED) do found[field] = values[index] or nil end
  return found
end

-- Milliseconds until a running job is done; nil when there is nothing to go by.
local function remaining(job)
  local elapsed, usually = NOW - tonumber(job.started or NOW), expected(job, mates_of(job.id, job.lead))
  if usually and usually > elapsed then return usually - elapsed end
  local fraction = job.progress and tonumber(cjson.decode(job.progress).fraction) or 0
  if fraction > 0 then return elapsed * (1 - fraction) / fraction end
  return usually and 0 or nil
end

-- For each worker that serves the queue the milliseconds until it is free; nil when a running job is of unknown length.
local function servers(queue)
  local busy, free = {}, {}
  for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, REACH - 1)) do
    local job = facts(id)
    local left = remaining(job)
    if job.queue == queue and not left then return nil end
    if job.worker then busy[job.worker] = math.max(busy[job.worker] or 0, left or 0) end
  end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', name('workers:until'), whole(NOW), '+inf', 'LIMIT', 0, REACH)) do
    local text = redis.call('HGET', name('workers'), worker)
    local whole_text, status = pcall(cjson.decode, string.match(text or '', '%b{}') or '')
    if not whole_text then status = nil end
    local ready = status and (status.state == 'idle' or status.state == 'busy')
    for _, served in ipairs(ready and status.queues or {}) do
      if served == queue then table.insert(free, busy[worker] or 0) end
    end
  end
  return free
end

-- How many jobs of the queue go before a queued one if nothing else arrives, and up to REACH of them as they are served.
local function ahead(job)
  local turns, lists, before = redis.call('ZRANGE', name('turns', job.priority, job.queue), 0, -1), {}, 0
  local share = math.ceil(REACH / #turns)
  local function take(key, count)
    before = before + count
    table.insert(lists, count > 0 and redis.call('ZRANGE', key, 0, math.min(count, share) - 1) or {})
  end
  local function ready(owner) return name('ready', job.priority, job.queue, owner) end
  local rank, ours_seen = redis.call('ZRANK', ready(job.owner), job.id) or 0, false
  for _, owner in ipairs(turns) do
    if owner == job.owner then
      ours_seen = true
      take(ready(owner), rank)
    else
      take(ready(owner), math.min(redis.call('ZCARD', ready(owner)), ours_seen and rank or rank + 1))
    end
  end
  local ids = {}
  if job.priority == 'batch' then
    local urgent = name('line', 'interactive', job.queue)
    before = before + redis.call('ZCARD', urgent)
    ids = redis.call('ZRANGE', urgent, 0, REACH - 1)
  end
  for round = 1, share do
    for _, list in ipairs(lists) do
      if list[round] and #ids < REACH then table.insert(ids, list[round]) end
    end
  end
  return before, ids
end

-- Whether a job may be claimed together with those of a batch, as claim.lua and the workers do it.
local function joins(job, batch)
  return batch and job.company == batch.first.company and job.attempts == '0' and batch.jobs < capacity(batch.first.kind)
end

-- Milliseconds to a job's start and end behind `total` jobs, of which `ids` are the first; nil when it cannot be told.
local function times_behind(job, ids, total, free)
  if not free or #free == 0 then return nil, nil end
  local batch, known, sum, unknown = nil, 0, 0, false
  local function serve(each)
    if joins(each, batch) then
      batch.jobs = batch.jobs + 1
    else
      table.sort(free)
      batch = {first = each, jobs = 1, from = free[1]}
    end
    local length = expected(batch.first, batch.jobs)
    if not length then unknown = true end
    free[1] = batch.from + (length or 0)
    return batch.from, length and free[1]
  end
  for _, id in ipairs(ids) do serve(facts(id)) end
  if unknown then return nil, nil end
  if total > #ids then
    local done = 0
    for _, each in ipairs(free) do done = done + each end
    local rest = done / #free / #ids * (total - #ids)
    for at, each in ipairs(free) do free[at] = each + rest end
    batch = nil
  end
  return serve(facts(job.id))
end

-- What is to be expected of a job: {jobs before it or -1, milliseconds to its start, to its end}, -1 for unknown.
local function estimate(job)
  if job.state == 'running' then return {-1, 0, math.ceil(remaining(facts(job.id)) or -1)} end
  local before, ids = ahead(job)
  local start, finish = times_behind(job, ids, before, servers(job.queue))
  return {before, math.ceil(start or -1), math.ceil(finish or -1)}
end
