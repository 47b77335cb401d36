"""What Redis runs: the schedule of an ``InProcessRateLimiter``, in Lua, by Redis' own clock.

GCRA, with a rate that refusals lower for a while; the numbers are explained there. Each script runs
alone, so that no slot is given twice. It sends nothing and knows no Python.

A key says when it was written, *at*: if Redis' clock was set back since, the key's times are as far
ahead as they were then, and nobody waits for an hour to come again. Keys expire when they say no
more than a key that is missing.

Arguments: the rate, then how many slots are wanted, or the seconds to pause. Answers, as texts and
a number: the fields of a ``Reservation``; those of a pause mean nothing.
"""

from __future__ import annotations

from hashlib import sha1

_STATE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local function read(key, ...)
  local found = redis.call('HMGET', key, 'at', ...)
  for i = 1, #found do found[i] = tonumber(found[i] or nil) end
  local back = math.max(0, (found[1] or now) - now)
  return back, unpack(found, 2, 1 + select('#', ...))
end
local function write(key, seconds, ...)
  local fields = {'at', string.format('%.6f', now)}
  for i, each in ipairs({...}) do
    fields[#fields + 1] = i % 2 == 1 and each or string.format('%.6f', each)
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('PEXPIRE', key, math.ceil(1000 * (seconds + 1)))
end
local full = tonumber(ARGV[1])
local back, slot = read(KEYS[1], 'slot')
slot = (slot or now) - back
local lowered, resumed, refused, least, paused
back, paused, lowered, resumed, refused, least =
  read(KEYS[2], 'until', 'lowered', 'resumed', 'refused', 'least')
paused, resumed, refused = (paused or 0) - back, (resumed or 0) - back, (refused or 0) - back
local rate = full
if lowered then
  rate = lowered * (1 + 0.15 * (math.max(0, now - resumed) / 40) ^ 3)
  if rate >= full then rate, lowered = full, nil end
end
"""

#: Reserve so many slots; 0 changes nothing.
RESERVE = (
    _STATE
    + """
local want = tonumber(ARGV[2])
local count = want
if want > 0 then
  count = math.max(1, math.min(want, math.floor(0.05 * rate)))
  local start = math.max(slot, paused, now)
  slot = start + count / rate
  write(KEYS[1], slot - now, 'slot', slot)
  slot = start
end
return {
  string.format('%.6f', slot - now),
  string.format('%.9f', 1 / rate),
  count,
  string.format('%.6f', math.max(0, paused - now)),
}
"""
)

#: A request was refused: pause for so many seconds.
PAUSE = (
    _STATE
    + """
local ends = math.max(paused, now + tonumber(ARGV[2]))
if lowered and now < refused + 1 then
  lowered, resumed = math.max(least, 0.96 * lowered), ends
elseif paused <= now and now < slot then
  least = math.max(0.001, 0.85 * rate)
  if lowered and now < resumed + 2 then
    lowered = least
  else
    lowered = math.max(0.001, 0.96 * rate)
  end
  refused, resumed = now, ends
end
if lowered then
  local recovered = resumed + 40 * (math.max(0, full / lowered - 1) / 0.15) ^ (1 / 3)
  write(KEYS[2], math.max(ends, recovered) - now, 'until', ends, 'lowered', lowered,
    'resumed', resumed, 'refused', refused, 'least', least)
else
  redis.call('DEL', KEYS[2])
  write(KEYS[2], ends - now, 'until', ends)
end
return {'0', '0', 0, '0'}
"""
)

#: The name that Redis has for each script.
SHA = {
    script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (RESERVE, PAUSE)
}
