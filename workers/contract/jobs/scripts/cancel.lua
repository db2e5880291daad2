-- The owner wants a job no more. Returns the record, or nil when it is not there or another owner's.
local id, owner = ARGV[2], ARGV[3]
local job = read(id)
if not job or (owner ~= '' and owner ~= job.owner) then return nil end
if job.state == 'queued' then
  finish(job, 'canceled')
elseif job.state == 'running' then
  redis.call('ZREM', DEADLINES, id)
  redis.call('HSET', name('job', id), 'state', 'canceling')
  note_change(id)
end
return record(id)
