-- How many jobs of the queue are served before this one, if nothing else arrives; nil when it is not queued.
local job = read(ARGV[2])
if not job or job.state ~= 'queued' then return nil end

local function ready(owner) return name('ready', job.priority, job.queue, owner) end
local turns = name('turns', job.priority, job.queue)
local rank = redis.call('ZRANK', ready(job.owner), job.id)
local before, ours_seen = rank, false
for _, owner in ipairs(redis.call('ZRANGE', turns, 0, -1)) do
  if owner == job.owner then
    ours_seen = true
  else
    before = before + math.min(redis.call('ZCARD', ready(owner)), ours_seen and rank or rank + 1)
  end
end
if job.priority == 'batch' then before = before + redis.call('ZCARD', name('line', 'interactive', job.queue)) end
return before
