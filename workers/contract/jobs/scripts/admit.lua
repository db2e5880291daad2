-- Whether an owner may ask for some more jobs, before anything is done for them; `submit` decides.
-- Returns {'open', bytes of the owner's pictures, digest of the job with this idempotency key or ''}, or a refusal.
local owner, key, jobs, max_queued, max_active = unpack(ARGV, 2, 6)
local known = key ~= '' and redis.call('HGET', name('idem', owner), key)
local digest = known and redis.call('HGET', name('job', known), 'digest') or ''
local refused = digest == '' and refusal(owner, tonumber(jobs), max_queued, max_active)
return refused or {'open', tonumber(redis.call('HGET', name('bytes'), owner) or 0), digest}
