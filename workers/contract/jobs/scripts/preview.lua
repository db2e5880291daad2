-- Keep the newest preview of a job that is running under this token. Returns 1 if it was kept.
local id, token, step, picture, lifetime = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local job = held(id, token)
if not job or job.state ~= 'running' then return 0 end
redis.call('SET', name('preview', id), picture, 'PX', lifetime)
redis.call('HSET', name('job', id), 'preview', step)
note_change(id)
return 1
