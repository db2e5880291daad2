-- Note that pictures are no longer wanted, so that workers drop what they computed from them.
local REMEMBERED = 10000 -- pictures, for caches that were away
local function note_dropped(inputs, which)
  for sha in string.gmatch(inputs, '%S+') do
    if which(sha) then redis.call('ZADD', name('deleted'), redis.call('INCR', name('arrivals')), sha) end
  end
  redis.call('ZREMRANGEBYRANK', name('deleted'), 0, -REMEMBERED - 1)
end
