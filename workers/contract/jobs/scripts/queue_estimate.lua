-- A snapshot for some jobs; see estimate.lua.
return snapshot({unpack(ARGV, 2)})
