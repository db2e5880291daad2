-- A text for each job that is another after each change that its followers are shown, its place in the queue included;
-- false where a record is gone. As JSON.
local texts = {}
for at = 2, #ARGV do
  local values = redis.call('HMGET', name('job', ARGV[at]),
    'state', 'attempts', 'progress', 'preview', 'owner', 'queue', 'priority')
  local state, attempts, progress, preview, owner, queue, priority = unpack(values)
  local place = ''
  if state == 'queued' then place = position({id = ARGV[at], owner = owner, queue = queue, priority = priority}) end
  texts[at - 1] = state and table.concat({state, attempts or '', progress or '', preview or '', place}, ' ')
end
return cjson.encode(texts)
