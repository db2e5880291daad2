-- What is to be expected of a job that is not final; nil when it is, is being canceled or is not there.
local job = read(ARGV[2])
if not job or (job.state ~= 'queued' and job.state ~= 'running') then return nil end
return estimate(job)
