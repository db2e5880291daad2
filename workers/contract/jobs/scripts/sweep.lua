-- Put right what workers and messages left behind, at most `limit` jobs of each kind.
-- Returns {leases ended, jobs failed, {queue, id, priority of each job to wake}, {ids of the records deleted}}.
local limit, max_attempts, wake_after, keep = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local late = apply_deadlines(limit)
local ended, poison = apply_leases(limit, max_attempts)

local wake = {}
for _, id in ipairs(due(WAITING, limit)) do
  local job = read(id)
  redis.call('ZREM', WAITING, id)
  if job then redis.call('ZADD', WAITING, whole(NOW + wake_after), id) else forget_missing(id) end
  for _, value in ipairs(job and {job.queue, id, job.priority} or {}) do table.insert(wake, value) end
end

local old = redis.call('ZRANGEBYSCORE', FINISHED, '-inf', whole(NOW - keep), 'LIMIT', 0, limit)
for _, id in ipairs(old) do forget(id) end
return {ended, late + poison, wake, old}
