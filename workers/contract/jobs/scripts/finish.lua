-- A worker lets go of a job: commit, fail, retry, postpone, defer, release or canceled. Returns 1 if it was done as asked.
-- Both postpone and defer put it behind its owner's other jobs; defer does not count the attempt, but the deferrals.
-- A job that was being canceled ends canceled whatever its worker says.
local verb, id, token, value = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_attempts, max_deferrals = tonumber(ARGV[6]), tonumber(ARGV[7])
local job = held(id, token)
local function deferrals() return tonumber(redis.call('HGET', name('job', id), 'deferrals') or 0) end
if not job then
  -- A commit sent twice because its first answer was lost was done all the same.
  local again = verb == 'commit' and read(id)
  return again and again.state == 'succeeded' and again.token == tonumber(token) and 1 or 0
end
if job.state == 'canceling' then
  finish(job, 'canceled')
  return verb == 'canceled' and 1 or 0
end
if verb == 'canceled' then return 0 end
if verb == 'commit' then
  finish(job, 'succeeded', 'result', value)
  note_duration(job)
elseif verb == 'release' then
  requeue(job, job.attempts - 1)
elseif verb == 'retry' and job.attempts < max_attempts then
  requeue(job, job.attempts)
elseif verb == 'postpone' and job.attempts < max_attempts then
  requeue(job, job.attempts, true)
elseif verb == 'defer' and deferrals() < max_deferrals then
  requeue(job, job.attempts - 1, true)
  redis.call('HINCRBY', name('job', id), 'deferrals', 1)
else
  finish(job, 'failed', 'failure', value)
end
return 1
