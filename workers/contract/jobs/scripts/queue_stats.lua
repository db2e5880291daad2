-- Counts for metrics. Returns {{queue, priority, queued, age of the oldest in milliseconds, ...}, {method, running, ...},
-- {what, times, ...}}, the last as `counts` keeps it.
local queues = {}
for _, queue in ipairs(redis.call('SMEMBERS', name('queues'))) do
  for _, priority in ipairs({'interactive', 'batch'}) do
    local waiting = name('line', priority, queue)
    local oldest = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2]
    local age = oldest and math.max(0, NOW - tonumber(oldest)) or 0
    for _, value in ipairs({queue, priority, redis.call('ZCARD', waiting), age}) do table.insert(queues, value) end
  end
end
return {queues, redis.call('HGETALL', name('running')), redis.call('HGETALL', name('counts'))}
