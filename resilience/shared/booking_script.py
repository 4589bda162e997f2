"""Booking script: what the shared store does of a rate limit, for many keys in one step.

A key's state is what GCRA needs, the theoretical arrival time, and what each instance holds as a lease: units that were
set aside for it, and that it spends without asking. **What is set aside does not drain**: it counts as used until the
instance says, with its next question, how much of it was spent (which drains from then on) and how much it gives back.
So after each booking

    drains + held <= burst + SLACK * burst        where "drains" falls by the rate, and "held" by nothing

and hence no more than ``(1 + SLACK) * burst + rate * t`` units are spent in any t seconds, however many instances there
are, however large their leases and however late their questions: what is booked or set aside within these t seconds is
at most that much less what drained and was held at their beginning, and only what was held then is spent besides. A
late spending is only booked late, so the error is to the caller's disadvantage; and since something always drains while
callers want more than the rate, it does not lower what they get.

The slack is there for leases alone. Without it nobody could have one at the limit, and each request that is admitted
there would be a question.

A lease has an end. An instance that was not heard of until then has spent all of it, as far as anybody knows. Its own
clock starts when it asked, and the server's when it answers, with a margin; so it stops before.

KEYS: the epoch (membership.py); one for each caller and limit. ARGV: the instance; the epoch that it knows; and for
each key a line of numbers:

    interval    seconds of one unit (1 / rate)
    burst       units
    max_wait    seconds that a request may wait
    lifetime    seconds until a lease ends
    is_sure     1: the instance knows what it holds; 0: whatever the server says that it holds is spent
    spent       units of its lease that were spent since it asked last
    keeps       units of its lease that it keeps, and goes on spending while it asks
    owes        units to book besides, whatever is left; less than 0: to give back
    floor       seconds that were booked ahead when it asked last, less those that have passed since
    version     of the key's state at that time
    wants       units of a further lease
    least       units of a usual request: a lease is for whole ones
    needs ...   units of requests that wait for the answer, in order

The answer has a line for each key: seconds that are booked ahead, version, units held by others, units of the further
lease, and for each need how many seconds it has to wait; -1 and less: refused, and -1 less the seconds after which it
would not be.

A store that has lost what it knew is recognised: the version of a key is lower than an instance has seen, and then the
floor holds; or the epoch is another one, and keys of which nothing is known begin as used up at that moment. When the
clock goes back, as on another server, nothing drains; a lease whose end is too far ahead then counts as spent.

What somebody else has written to a key fails no question, which is about other callers, too: it counts as nothing,
whether it is of another type or no number that can be meant.

A changed limit keeps which share of the burst was spent, and in units what is owed beyond it. While it is changed,
gateways ask for a key under the old limit and the new one in turn, so there and back must be nothing: if units were
kept where the burst falls (as core.rate_limit_queue does) and the share where it rises, each turn would add to what
was spent.
"""

from __future__ import annotations

from typing import Final

from .store import OURS, Script

#: Share of the burst that leases may be beyond the limit; 5 % are promised.
SLACK: Final = 0.04
#: Nobody owes more, seconds: a service may say that a request took any number of units.
FOREVER_S: Final = 10_000_000

BOOK: Final = Script(OURS + """\
local function bounded(said, otherwise, least)
  local number = tonumber(said)
  if number and number >= (least or -FOREVER) and number <= 1e15 then return number end
  return otherwise
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local epoch = ours('GET', KEYS[1])
local wiped = now
if epoch and epoch == ARGV[2] then wiped = tonumber(string.match(epoch, ':(.*)')) or now end
local lines = {}
for k = 2, #KEYS do
  local said = {}
  for word in string.gmatch(ARGV[k + 1], '%S+') do said[#said + 1] = tonumber(word) end
  local interval, burst, max_wait, lifetime = said[1], said[2], said[3], said[4]
  local is_sure, spent, keeps, owes = said[5], said[6], said[7], said[8]
  local slack = SLACK * burst
  local floor, seen, wants, least = said[9], said[10], said[11], said[12]

  local state = ours('HGETALL', KEYS[k])
  local ahead, version, heard, old, old_burst = 0, 0, now, interval, burst
  local leases = {}
  for f = 1, #state, 2 do
    local name, value = state[f], state[f + 1]
    if name == 't' then ahead = bounded(value, ahead)
    elseif name == 'v' then version = bounded(value, version, 0)
    elseif name == 's' then heard = bounded(value, heard)
    elseif name == 'i' then old = bounded(value, old, 1e-9)
    elseif name == 'b' then old_burst = bounded(value, old_burst, 1e-9)
    else leases[name] = value end
  end
  ahead = math.max(0, ahead - math.max(0, now - heard))
  if #state == 0 and wiped > 0 then
    ahead = math.max(0, math.min(wiped, now) + burst * interval - now)
  elseif old ~= interval or old_burst ~= burst then
    local used = ahead / old
    local beyond = math.max(0, used - old_burst)
    ahead = ((used - beyond) * burst / old_burst + beyond) * interval
  end

  local held, holders, latest, is_known, gone = 0, 0, 0, false, {}
  for name, value in pairs(leases) do
    local units, left = string.match(value, '(.*):(.*)')
    units, left = bounded(units, 0, 0), bounded(left, now) - now
    if name == ARGV[1] then
      is_known = true
      ahead = ahead + (is_sure == 1 and spent or units) * interval
    elseif left <= 0 or left > 2 * lifetime then
      ahead = ahead + units * interval
      gone[#gone + 1] = name
    else
      held, holders, latest = held + units, holders + 1, math.max(latest, left)
    end
  end
  if is_sure == 1 and not is_known then ahead = ahead + spent * interval end
  if is_sure == 0 then keeps = 0 end
  ahead = math.max(0, ahead + owes * interval)
  ahead = math.min(ahead, FOREVER)
  if seen > version then ahead = math.max(ahead, math.min(floor, burst * interval + max_wait)) end

  local words = {}
  for n = 13, #said do
    local units = said[n]
    local wait = ahead + (math.max(0, held + keeps - slack) + math.min(units, burst) - burst) * interval
    if wait <= interval * 1e-6 + 1e-6 then wait = 0 end
    if wait <= max_wait then
      ahead = math.min(ahead + units * interval, FOREVER)
      words[#words + 1] = string.format('%.6f', wait)
    else
      words[#words + 1] = string.format('%.6f', max_wait - wait - 1)
    end
  end

  local unused = burst - ahead / interval
  local more = math.min(wants, (slack + unused - held - keeps) / (2 + holders), slack + unused / 2 - held - keeps)
  more = math.max(0, math.floor(more / least) * least)
  local kept = keeps + more
  for _, name in ipairs(gone) do redis.call('HDEL', KEYS[k], name) end
  if kept > 0 then
    redis.call('HSET', KEYS[k], ARGV[1], string.format('%.17g:%.6f', kept, now + lifetime))
    latest = math.max(latest, lifetime)
  elseif is_known then
    redis.call('HDEL', KEYS[k], ARGV[1])
  end
  redis.call('HSET', KEYS[k], 't', string.format('%.17g', ahead), 'v', version + 1, 's', string.format('%.6f', now),
             'i', string.format('%.17g', interval), 'b', burst)
  local idle = math.min(latest + ahead + (held + kept) * interval + 1, 2 * FOREVER)
  redis.call('PEXPIRE', KEYS[k], math.ceil(idle * 1000))
  lines[#lines + 1] = string.format('%.9f %d %.17g %.17g ', ahead, version + 1, held, more) .. table.concat(words, ' ')
end
return lines
""".replace("SLACK", str(SLACK)).replace("FOREVER", str(FOREVER_S)))
