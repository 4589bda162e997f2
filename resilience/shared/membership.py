"""Membership: how many instances share a store. Pure.

Every instance tells the store once a second that it is there (a beat), and the store answers how many have done so
lately. The count that is believed rises at once and falls slowly: a store that was wiped knows nobody, and knows all
again only after everybody's next beat. Whoever shares a limit by the count must not take more meanwhile. While the
store is lost the count stays.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .store import OURS, Script

#: Between two beats of an instance, seconds.
BEAT_S: Final = 1.0
#: An instance that was not heard of for so long is no more, seconds.
LIFETIME_S: Final = 5.0
#: So long a count that was higher is believed still, seconds.
MEMORY_S: Final = 10.0

#: KEYS: the instances, a sorted set by the time of their last beats; the epoch. ARGV: the instance; LIFETIME_S in
#: seconds; the epoch that the instance knows; one that takes its place if the store was wiped; whether it leaves (1).
#: Returns the number of instances, and the epoch: a token and the time when the store was found wiped, or 0.
#: The time of the server may go back when another server takes over: what is of the future is no more, either.
#: An epoch that is another one than is known, with a later time, was begun by somebody who has found the store wiped:
#: all take that, or each would begin one at each of its beats. One with no later time is of somebody who knew nothing.
BEAT: Final = Script(OURS + """\
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
if ARGV[5] == '1' then
  ours('ZREM', KEYS[1], ARGV[1])
else
  ours('ZADD', KEYS[1], string.format('%.6f', now), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now - ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.6f', now + ARGV[2]), '+inf')
redis.call('EXPIRE', KEYS[1], 86400)
local epoch = ours('GET', KEYS[2])
local wiped = tonumber(epoch and #epoch < 64 and string.match(epoch, '^%x+:([%d.]+)$') or nil)
local known = tonumber(string.match(ARGV[3], ':(.*)') or nil)
if not wiped or wiped > now + ARGV[2] or (known and epoch ~= ARGV[3] and wiped <= known) then
  epoch = ARGV[4] .. ':' .. (known and string.format('%.6f', now) or '0')
  redis.call('SET', KEYS[2], epoch)
end
return {redis.call('ZCARD', KEYS[1]), epoch}
""")


class Membership:
    """What one instance knows of how many there are.

    Attributes:
        told: What the store has said last; 0: nothing yet.
    """

    def __init__(self, expected: int = 1) -> None:
        """Nothing was heard yet, and so there are as many as *expected*."""
        self.told, self._expected = 0, expected
        self._counts: deque[tuple[float, int]] = deque()  # of falling counts, the highest first

    @property
    def count(self) -> int:
        """How many instances there are, as far as is known; at least 1."""
        return self._counts[0][1] if self._counts else self._expected

    def hear(self, count: int, now: float) -> None:
        """The store says at *now* (monotonic seconds) that there are *count* instances."""
        self.told, counts = count, self._counts
        while counts and counts[-1][1] <= count:
            counts.pop()
        counts.append((now, count))
        while len(counts) > 1 and counts[0][0] <= now - MEMORY_S:
            counts.popleft()
