-- The outbox of webhooks: a final job that wants a call is due in it until the call was taken or given up. Verbs:
--   due      {id, tries before, ...} of up to `most` due calls, each lent for `lease` ms: nobody else makes it meanwhile;
--            those of an owner whose key is revoked are dropped: their address is the revoked holder's
--   note     an attempt: into the log of the job; due again at `again` ms from now, or no more when it is ''
--   replay   due at once: 'due'; 'open' while the job is not final, 'none' when it has no webhook or is not there
local HOOKS, verb = name('hooks'), ARGV[2]

local function put(id, at)
  redis.call('ZREM', HOOKS, id)
  redis.call('ZADD', HOOKS, whole(at), id)
end

if verb == 'due' then
  local most, lease, found = tonumber(ARGV[3]), tonumber(ARGV[4]), {}
  for _, id in ipairs(due(HOOKS, most)) do
    if is_revoked(redis.call('HGET', name('job', id), 'owner') or '') then
      redis.call('ZREM', HOOKS, id)
    else
      put(id, NOW + lease)
      table.insert(found, id)
      table.insert(found, tonumber(redis.call('HGET', name('job', id), 'tries') or 0))
    end
  end
  return found
end

local id = ARGV[3]
local job = read(id)
if verb == 'replay' then
  if not job or not job.webhook then return 'none' end
  if not job.finished then return 'open' end
  redis.call('HDEL', name('job', id), 'tries')
  put(id, NOW)
  return 'due'
end

local attempt, again, kept = ARGV[4], ARGV[5], tonumber(ARGV[6])
redis.call('ZREM', HOOKS, id)
if not job then return nil end
if again ~= '' then redis.call('ZADD', HOOKS, whole(NOW + tonumber(again)), id) end
redis.call('HINCRBY', name('job', id), 'tries', 1)
redis.call('RPUSH', name('hooklog', id), attempt)
redis.call('LTRIM', name('hooklog', id), -kept, -1)
