-- Note when a job that has just been accepted is expected to be done, to be held against what becomes of it.
local id, first_estimate = ARGV[2], ARGV[3]
if redis.call('EXISTS', name('job', id)) == 1 then redis.call('HSET', name('job', id), 'promised', first_estimate) end
