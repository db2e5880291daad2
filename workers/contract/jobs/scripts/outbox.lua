-- The outbox of webhooks: a final job that wants a call is due in it until the call was taken or given up. Verbs:
--   due      {id, owner, tries before, ...} of up to `most` due calls, each lent for `lease` ms: nobody else makes it
--            meanwhile. No owner gets more than `per_owner`, less those running: {owner, number, ...};
--            calls of an owner whose key is revoked are dropped: their address is the revoked holder's
--   note     an attempt: into the log of the job; due again at `again` ms from now, or no more when it is ''
--   replay   due at once: 'due'; 'open' while the job is not final, 'none' when it has no webhook or is not there
local HOOKS, verb = name('hooks'), ARGV[2]
local LOOKED_AT, LATER = 500, 1000 -- due calls of one look, and milliseconds until an owner's turn comes again

local function put(id, at)
  redis.call('ZREM', HOOKS, id)
  redis.call('ZADD', HOOKS, whole(at), id)
end

if verb == 'due' then
  local most, lease, per_owner, found = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), {}
  local running = {}
  for index = 6, #ARGV, 2 do running[ARGV[index]] = tonumber(ARGV[index + 1]) end
  for _, id in ipairs(due(HOOKS, LOOKED_AT)) do
    local owner = redis.call('HGET', name('job', id), 'owner')
    if not owner or is_revoked(owner) then
      redis.call('ZREM', HOOKS, id)
    elseif (running[owner] or 0) >= per_owner then
      put(id, NOW + LATER)
    else
      running[owner] = (running[owner] or 0) + 1
      put(id, NOW + lease)
      for _, word in ipairs({id, owner, tonumber(redis.call('HGET', name('job', id), 'tries') or 0)}) do
        table.insert(found, word)
      end
      if #found >= 3 * most then break end
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
