-- Shared by the scripts that tell when jobs will be done: the facts, from which estimate.py tells the times.

local MAX_BATCH = 16

local workloads, numbers = {}, {}

-- The number, from 0, of what a job has in common with others that take as long, with how long those took; see
-- durations.lua.
local function workload_of(duration_key, work_units, method, batch_key, queue, attempts)
  local key = (duration_key or '') .. '\n' .. (work_units or '') .. '\n' .. (method or '') .. '\n' .. (batch_key or '') ..
    '\n' .. (queue or '') .. '\n' .. (attempts or '')
  if numbers[key] then return numbers[key] end
  local fields = {(method or '') .. ' ' .. (queue or '')}
  for size = 1, MAX_BATCH do table.insert(fields, (duration_key or '') .. ' x' .. size) end
  local durations = redis.call('HMGET', name('times'), unpack(fields))
  numbers[key] = #workloads
  table.insert(workloads, {
    batch_key = batch_key or nil, work_units = work_units and tonumber(work_units) or nil, fresh = attempts == '0',
    unit_durations = table.remove(durations, 1) or '', durations = durations})
  return numbers[key]
end

local workloads_by_id = {}

local function queued_job(id, queue)
  if not workloads_by_id[id] then
    local values = redis.call('HMGET', name('job', id), 'kind', 'units', 'method', 'company', 'attempts')
    workloads_by_id[id] = workload_of(values[1], values[2], values[3], values[4], queue, values[5])
  end
  return workloads_by_id[id]
end

-- A job asked for; false when it neither waits nor runs.
local function asked_job(id)
  local values = redis.call('HMGET', name('job', id),
    'state', 'owner', 'queue', 'priority', 'kind', 'units', 'method', 'company', 'attempts')
  local state, owner, queue, priority, duration_key, work_units, method, batch_key, attempts = unpack(values)
  if state ~= 'queued' then return state == 'running' and {id = id, running = true} end
  workloads_by_id[id] = workload_of(duration_key, work_units, method, batch_key, queue, attempts)
  return {id = id, owner = owner, queue = queue, priority = priority}
end

local function running_job(id)
  local values = redis.call('HMGET', name('job', id),
    'kind', 'units', 'method', 'company', 'attempts', 'queue', 'worker', 'started', 'progress', 'lead')
  local duration_key, work_units, method, batch_key, attempts = unpack(values)
  local queue, worker, started, progress, batch_leader = unpack(values, 6)
  return {
    workload = workload_of(duration_key, work_units, method, batch_key, queue, attempts),
    queue = queue or nil, worker = worker or nil, started = started and tonumber(started) or nil,
    progress = progress or nil,
    batch_size = tonumber(redis.call('HGET', name('job', batch_leader or id), 'mates') or 1)}
end

-- The workers that take jobs: {{id = ..., queues = {...}}, ...}; those whose status cannot be read are left out.
local function ready_workers()
  local found = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', name('workers:until'), whole(NOW), '+inf', 'LIMIT', 0, REACH)) do
    local text = redis.call('HGET', name('workers'), worker)
    local readable, status = pcall(cjson.decode, string.match(text or '', '%b{}') or '')
    if readable and (status.state == 'idle' or status.state == 'busy') and type(status.queues) == 'table' then
      table.insert(found, {id = worker, queues = status.queues})
    end
  end
  return found
end

-- What is to be known of some jobs, as JSON; see Snapshot in estimate.py.
local function snapshot(ids)
  local answer = {now = NOW, jobs = {}, queues = {}, running = {}, workloads = workloads}
  local function add_queue(priority, queue)
    local key, head = priority .. ' ' .. queue, {}
    if answer.queues[key] then return key end
    for at, id in ipairs(head_of(priority, queue)) do head[at] = queued_job(id, queue) end
    answer.queues[key] = {length = queue_length(priority, queue), head = head}
    return key
  end
  for at, id in ipairs(ids) do answer.jobs[at] = asked_job(id) end
  for at, job in ipairs(answer.jobs) do
    if job and job.running then
      answer.jobs[at] = {running = running_job(job.id)}
    elseif job then
      if job.priority == 'batch' then add_queue('interactive', job.queue) end
      answer.jobs[at] = {
        queue = add_queue(job.priority, job.queue), workload = workloads_by_id[job.id], position = position(job)}
    end
  end
  if next(answer.queues) then
    for at, id in ipairs(redis.call('ZRANGE', LEASES, 0, REACH - 1)) do answer.running[at] = running_job(id) end
    answer.workers = ready_workers()
  end
  return cjson.encode(answer)
end
