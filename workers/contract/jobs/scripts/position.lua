-- Shared by the scripts that tell where jobs wait. Owners take turns, so the jobs before one that has `rank` jobs of
-- its owner before it are min(rank, n) of each owner with n jobs, and one more of each owner with more than `rank` whose
-- turn comes first. That is told from how many owners have 1, 2, ... jobs (see index_owner in shared.lua): n jobs make
-- at most sqrt(2 n) such numbers, however many owners there are.

local REACH = 64 -- jobs of a queue that are looked at one by one

local heads, places = {}, {}

-- The ids of the next jobs of a queue in the order of service, up to REACH; `places` tells where each is among them.
local function head_of(priority, queue)
  local known = heads[priority .. ' ' .. queue]
  if known then return known end
  local owners = redis.call('ZRANGE', rotation_of(priority, queue), 0, REACH - 1)
  local share, owner_queues, head = #owners > 0 and math.ceil(REACH / #owners) or 0, {}, {}
  for at, owner in ipairs(owners) do
    owner_queues[at] = redis.call('ZRANGE', owner_queue_of(priority, queue, owner), 0, share - 1)
  end
  for round = 1, share do
    for _, owner_queue in ipairs(owner_queues) do
      if owner_queue[round] and #head < REACH then
        places[owner_queue[round]] = #head
        table.insert(head, owner_queue[round])
      end
    end
  end
  heads[priority .. ' ' .. queue] = head
  return head
end

local function queue_length(priority, queue) return redis.call('ZCARD', name('line', priority, queue)) end

local function read_depths(priority, queue)
  local found, owners, jobs = {}, 0, 0
  local flat = redis.call('HGETALL', name('depths', priority, queue))
  for at = 1, #flat, 2 do
    local depth = {jobs = tonumber(flat[at]), owners = tonumber(flat[at + 1])}
    owners, jobs = owners + depth.owners, jobs + depth.owners * depth.jobs
    table.insert(found, depth)
  end
  return found, owners == redis.call('ZCARD', rotation_of(priority, queue)) and jobs == queue_length(priority, queue)
end

local function reindex(priority, queue)
  for _, jobs in ipairs(redis.call('HKEYS', name('depths', priority, queue))) do
    redis.call('DEL', name('turns_at', priority, queue, jobs))
  end
  redis.call('DEL', name('depths', priority, queue), name('depth', priority, queue)) -- before all that needs memory
  local owners = redis.call('ZRANGE', rotation_of(priority, queue), 0, -1)
  for _, owner in ipairs(owners) do index_owner(priority, queue, owner) end
end

local all_depths = {}

-- How many jobs the owners of a queue have: {{jobs = n, owners = how many have so many}, ...}. Counted anew when
-- scripts of the release before have changed the queue meanwhile.
local function depths_of(priority, queue)
  local key = priority .. ' ' .. queue
  if not all_depths[key] then
    local found, right = read_depths(priority, queue)
    if not right then
      reindex(priority, queue)
      found = read_depths(priority, queue)
    end
    all_depths[key] = found
  end
  return all_depths[key]
end

local known_owners = {}

-- The turn of a job's owner in its queue, and as far as it was asked for how many owners with so many jobs come before.
local function owner_of(job, owner_queue)
  local owner = known_owners[owner_queue]
  if not owner then
    owner = {turn = redis.call('ZSCORE', rotation_of(job.priority, job.queue), job.owner) or 0, ahead = {}}
    known_owners[owner_queue] = owner
  end
  return owner
end

local function owners_ahead(job, owner, jobs)
  if not owner.ahead[jobs] then
    local turns = name('turns_at', job.priority, job.queue, whole(jobs))
    owner.ahead[jobs] = redis.call('ZCOUNT', turns, '-inf', '(' .. owner.turn)
  end
  return owner.ahead[jobs]
end

local function count_before(job)
  local owner_queue = owner_queue_of(job.priority, job.queue, job.owner)
  local rank = redis.call('ZRANK', owner_queue, job.id) or 0
  if rank == 0 then return redis.call('ZRANK', rotation_of(job.priority, job.queue), job.owner) or 0 end
  local owner, before = owner_of(job, owner_queue), 0
  for _, depth in ipairs(depths_of(job.priority, job.queue)) do
    before = before + depth.owners * math.min(rank, depth.jobs)
    if depth.jobs > rank then before = before + owners_ahead(job, owner, depth.jobs) end
  end
  return before
end

-- How many jobs of its queue go before a queued one if nothing else arrives.
local function position(job)
  head_of(job.priority, job.queue)
  local before = places[job.id] or count_before(job)
  return job.priority == 'batch' and before + queue_length('interactive', job.queue) or before
end
