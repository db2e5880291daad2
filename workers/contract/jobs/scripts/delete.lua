-- The owner wants a final job's record deleted. Returns 1, or 0 when there is no such job or it is not final.
local id, owner = ARGV[2], ARGV[3]
local job = read(id)
if not job or job.owner ~= owner or not job.finished then return 0 end
local inputs = redis.call('HGET', name('job', id), 'inputs')
forget(id)
note_dropped(inputs, function(sha) return redis.call('HEXISTS', name('inputs'), sha) == 0 end)
return 1
