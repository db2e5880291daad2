-- Shared by the scripts that learn or tell how long jobs take. Keys:
--   times        hash   kind of job -> its last durations in milliseconds, and 'method queue' -> the same per unit of work
--   times:used   zset   kind -> when it was learnt last: the oldest is forgotten first
--   workers, workers:until   see workers.lua
-- A kind is technique, model, size, steps and pictures; a duration is from claim to commit, waiting apart.

local TIMES, USED = name('times'), name('times:used')
local KEPT_TIMES, KEPT_KINDS, REACH = 9, 500, 64
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

-- Note how long a job that has just succeeded took, and by how much the first promise was off.
local function learn(job)
  local values = redis.call('HMGET', name('job', job.id), 'kind', 'units', 'started', 'promised')
  local kind, units, started, promised = unpack(values)
  if not kind or not started then return end
  local took = math.max(0, NOW - tonumber(started))
  note(kind, took)
  if tonumber(units) > 0 then note(job.method .. ' ' .. job.queue, took / tonumber(units)) end
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

-- Milliseconds that a job takes once claimed; nil when nothing like it was ever done.
local function expected(kind, units, method, queue)
  local unit = usual(kind or '') == nil and units and usual(method .. ' ' .. queue)
  return unit and unit * tonumber(units) or usual(kind or '')
end

local ASKED = {'kind', 'units', 'method', 'queue', 'worker', 'started', 'progress'}

local function facts(id)
  local values = redis.call('HMGET', name('job', id), unpack(ASKED))
  local found = {}
  for index, field in ipairs(ASKED) do found[field] = values[index] or nil end
  found.expected = found.method and expected(found.kind, found.units, found.method, found.queue)
  return found
end

-- Milliseconds until a running job is done; nil when there is nothing to go by.
local function remaining(job)
  local elapsed = NOW - tonumber(job.started or NOW)
  if job.expected and job.expected > elapsed then return job.expected - elapsed end
  local fraction = job.progress and tonumber(cjson.decode(job.progress).fraction) or 0
  if fraction > 0 then return elapsed * (1 - fraction) / fraction end
  return job.expected and 0 or nil
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
    local status = text and cjson.decode(string.match(text, '%b{}'))
    local ready = status and (status.state == 'idle' or status.state == 'busy')
    for _, served in ipairs(ready and status.queues or {}) do
      if served == queue then table.insert(free, busy[worker] or 0) end
    end
  end
  return free
end

-- How many jobs of the queue go before a queued one if nothing else arrives, and the ids of up to REACH of them.
local function ahead(job)
  local function ready(owner) return name('ready', job.priority, job.queue, owner) end
  local ids = {}
  local function take(key, most)
    local room = math.min(most, REACH - #ids)
    for _, id in ipairs(room > 0 and redis.call('ZRANGE', key, 0, room - 1) or {}) do table.insert(ids, id) end
    return most
  end
  local rank = redis.call('ZRANK', ready(job.owner), job.id)
  local before, ours_seen = take(ready(job.owner), rank), false
  for _, owner in ipairs(redis.call('ZRANGE', name('turns', job.priority, job.queue), 0, -1)) do
    if owner == job.owner then
      ours_seen = true
    else
      before = before + take(ready(owner), math.min(redis.call('ZCARD', ready(owner)), ours_seen and rank or rank + 1))
    end
  end
  local urgent = name('line', 'interactive', job.queue)
  if job.priority == 'batch' then before = before + take(urgent, redis.call('ZCARD', urgent)) end
  return before, ids
end

-- Milliseconds until a server is free after `total` jobs, of which `ids` are some; nil when it cannot be told.
local function wait_behind(ids, total, free)
  if not free or #free == 0 then return nil end
  local known, sum = 0, 0
  local lengths = {}
  for _, id in ipairs(ids) do
    local length = facts(id).expected
    table.insert(lengths, length or false)
    if length then known, sum = known + 1, sum + length end
  end
  if total > 0 and known == 0 then return nil end
  for _, length in ipairs(lengths) do
    table.sort(free)
    free[1] = free[1] + (length or sum / known)
  end
  table.sort(free)
  return free[1] + (total - #ids) * (known > 0 and sum / known or 0) / #free
end

-- What is to be expected of a job: {jobs before it or -1, milliseconds to its start, to its end}, -1 for unknown.
local function outlook(job)
  if job.state == 'running' then return {-1, 0, math.ceil(remaining(facts(job.id)) or -1)} end
  local before, ids = ahead(job)
  local start = wait_behind(ids, before, servers(job.queue))
  local own = facts(job.id).expected
  return {before, math.ceil(start or -1), math.ceil(start and own and start + own or -1)}
end
