-- The deletion of input pictures that no job or style names; see admission.lua. Verbs:
--   doom    mark those that nobody names for `lease` ms. Returns {sha256, mark, ...}
--   gone    'sha256 mark ...' are deleted. Marks older than `keep` ms are forgotten
--   recount drop an owner's pictures that its jobs and styles no longer name from the bytes it holds
local verb = ARGV[2]

if verb == 'doom' then
  local lease, marked = tonumber(ARGV[3]), {}
  for at = 4, #ARGV do
    local sha = ARGV[at]
    local mark = redis.call('ZSCORE', DOOMED, sha)
    if redis.call('HEXISTS', name('inputs'), sha) == 0 and not (mark and tonumber(mark) > NOW) then
      redis.call('ZREM', DOOMED, sha) -- first, that a full Redis lets the rest through
      redis.call('ZADD', DOOMED, whole(NOW + lease), sha)
      table.insert(marked, sha)
      table.insert(marked, whole(NOW + lease))
    end
  end
  return marked
end

if verb == 'gone' then
  redis.call('ZREMRANGEBYSCORE', DOOMED, '-inf', whole(NOW - tonumber(ARGV[3])))
  for sha, mark in pairs(by_sha(ARGV[4])) do
    if tonumber(redis.call('ZSCORE', DOOMED, sha) or 0) == mark then redis.call('ZADD', DOOMED, whole(NOW), sha) end
  end
  return 1
end

local owner = ARGV[3]
for at = 4, #ARGV do
  if redis.call('HEXISTS', name('inputs', owner), ARGV[at]) == 0 then drop_bytes(owner, ARGV[at]) end
end
return 1
