-- Note a worker's status for a while (status given), and forget the workers not heard of. Returns {time, status, ...}.
local id, status, lifetime = ARGV[2], ARGV[3], tonumber(ARGV[4])
local seen, statuses = name('workers:until'), name('workers')
for _, gone in ipairs(due(seen, 100)) do
  redis.call('ZREM', seen, gone)
  redis.call('HDEL', statuses, gone)
  redis.call('HDEL', name('leads'), gone)
end
redis.call('ZREM', seen, id)
if status ~= '' then
  redis.call('ZADD', seen, whole(NOW + lifetime), id)
  redis.call('HSET', statuses, id, whole(NOW) .. ' ' .. status)
end
return redis.call('HVALS', statuses)
