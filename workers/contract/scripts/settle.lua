-- A worker lets go of a job: commit, fail, retry, release or canceled. Returns 1 if it was done as asked.
-- A job that was being canceled ends canceled whatever its worker says.
local verb, id, token, value, max_attempts = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local job = held(id, token)
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
  learn(job)
elseif verb == 'release' then
  requeue(job, job.attempts - 1)
elseif verb == 'retry' and job.attempts < max_attempts then
  requeue(job, job.attempts)
else
  finish(job, 'failed', 'failure', value)
end
return 1
