-- How long jobs took, noted by `finish`, read by estimate.lua. Keys:
--   times        hash   duration key and batch size -> their last durations in milliseconds, and 'method queue' -> the
--                       same per unit of work
--   times:used   zset   what `times` is of -> when it was noted last: the oldest is forgotten first
-- A duration key is technique, model, size, steps and pictures; a duration is from claim to commit, waiting apart.

local TIMES, USED = name('times'), name('times:used')
local KEPT_TIMES, KEPT_KINDS, MAX_BATCH = 9, 500, 16
local BUCKETS = {'0.5', '1.0', '2.0', '5.0', '10.0', '20.0', '30.0', '60.0', '120.0', '300.0', '600.0'}

local function note(what, value)
  local values = {}
  for word in string.gmatch(redis.call('HGET', TIMES, what) or '', '%S+') do table.insert(values, tonumber(word)) end
  table.insert(values, value)
  while #values > KEPT_TIMES do table.remove(values, 1) end
  for at, each in ipairs(values) do values[at] = string.format('%.3f', each) end
  redis.call('HSET', TIMES, what, table.concat(values, ' '))
  redis.call('ZADD', USED, whole(NOW), what)
end

-- Note by how much the first estimate of a job's end was off.
local function note_error(first_estimate)
  local off, bucket = math.abs(NOW - tonumber(first_estimate)), '+Inf'
  for at = #BUCKETS, 1, -1 do
    if off <= tonumber(BUCKETS[at]) * 1000 then bucket = BUCKETS[at] end
  end
  count('eta ' .. bucket, 1)
  count('eta sum', whole(off))
end

-- Note how long a job that has just succeeded took.
local function note_duration(job)
  local values = redis.call('HMGET', name('job', job.id), 'kind', 'units', 'started', 'promised', 'lead')
  local duration_key, work_units, started, first_estimate, batch_leader = unpack(values)
  if not duration_key or not started then return end
  local took = math.max(0, NOW - tonumber(started))
  local batch_size = tonumber(redis.call('HGET', name('job', batch_leader or job.id), 'mates') or 1)
  note(duration_key .. ' x' .. math.min(batch_size, MAX_BATCH), took)
  if tonumber(work_units) > 0 then note(job.method .. ' ' .. job.queue, took / tonumber(work_units) / batch_size) end
  for _, forgotten in ipairs(redis.call('ZRANGE', USED, 0, -1 - KEPT_KINDS)) do
    redis.call('ZREM', USED, forgotten)
    redis.call('HDEL', TIMES, forgotten)
  end
  if first_estimate then note_error(first_estimate) end
end
