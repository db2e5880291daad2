-- Shared by the scripts that let jobs and styles in. A picture that nobody names is deleted in three steps, in which
-- nothing that names it is let in (the key `doomed`: zset, sha256 -> a time): it is marked with the time until which its
-- deleter may take; it is deleted; it is marked with the present. Once that time is past, whoever names the picture puts it
-- into the blob store again first, and then says which mark it has seen ("sha256 mark ..." in `revived`).

local DOOMED = name('doomed')

-- The words of 'sha256 number ...' as a table.
local function by_sha(text)
  local found = {}
  for sha, number in string.gmatch(text, '(%S+) (%S+)') do found[sha] = tonumber(number) end
  return found
end

-- Why an owner may not have some more jobs; nil when it may.
local function refusal(owner, jobs, max_queued, max_active)
  if jobs == 0 then return nil end
  if is_revoked(owner) then return {'revoked'} end
  if redis.call('ZCARD', WAITING) + jobs > tonumber(max_queued) then
    return {'full', redis.call('ZCOUNT', FINISHED, whole(NOW - 60000), '+inf')}
  end
  if max_active ~= '' and tonumber(redis.call('HGET', ACTIVE, owner) or 0) + jobs > tonumber(max_active) then
    return {'busy', max_active}
  end
  return nil
end

-- Why an owner's pictures cannot be named; nil when they can: they are too many bytes with those that the owner holds,
-- {'stored', bytes the owner may hold}, or some may be deleted, {'doomed', 1 while they are being, sha256, mark, ...}.
local function unnameable(owner, inputs, sizes, max_bytes, revived)
  local more, doomed, seen, deleting = 0, {}, {}, 0
  for sha in string.gmatch(inputs, '%S+') do
    local mark = not seen[sha] and redis.call('ZSCORE', DOOMED, sha)
    if mark and (tonumber(mark) > NOW or tonumber(mark) ~= revived[sha]) then
      if tonumber(mark) > NOW then deleting = 1 end
      table.insert(doomed, sha)
      table.insert(doomed, whole(mark))
    end
    if sizes[sha] and not seen[sha] and redis.call('HEXISTS', name('held', owner), sha) == 0 then
      more = more + sizes[sha]
    end
    seen[sha] = true
  end
  if max_bytes ~= '' and more > 0 and tonumber(redis.call('HGET', name('bytes'), owner) or 0) + more > tonumber(max_bytes)
  then
    return {'stored', max_bytes}
  end
  return doomed[1] and {'doomed', deleting, unpack(doomed)} or nil
end

-- An owner's job or style names these pictures from now on.
local function name_inputs(owner, inputs, sizes)
  count_inputs(owner, inputs, 1)
  for sha in string.gmatch(inputs, '%S+') do
    redis.call('ZREM', DOOMED, sha)
    if sizes[sha] and redis.call('HSETNX', name('held', owner), sha, whole(sizes[sha])) == 1 then
      redis.call('HINCRBY', name('bytes'), owner, whole(sizes[sha]))
    end
  end
end
