"""Circuit hints: what several gateways know together of the targets that are down.

Each instance tells the store which circuits its own calls have opened (an observation), with the time that is left
until it tries again, and hears of those that enough gateways see so. A closed circuit opens then for the time that is
left (core.circuit.Circuit.hint), without a failure of its own, and tries for itself afterwards.

- What opened by a hint, by an operator, or because the target asked for a pause is not told: hints make no hints.
- Instances of one name are one gateway, and have one voice: a machine that is cut off is outvoted, whatever it runs.
- The share is of the gateways that have the target. Who has not answered yet counts as one that has it, and sees it up.
- The end is that of the observations that hold the share, not the latest: when it falls below, it is time to try.
- A gateway whose own probe finds the target well goes by its own calls for a minute, whatever the others say of it: it
  may be that the trouble lies between the target and them.

What is in force is said again when the store was wiped, and every few seconds in any case, since a replica may have
lost some of it. An instance that is not heard of is no more, and nor is what it said. Times are the store's; what
travels is durations. The store reckons for all who ask within a quarter of a second, unless somebody tells news: with
a hundred targets down in a large fleet that is milliseconds of its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..commands.command import internals_of
from ..core.circuit import Circuit
from ..core.events import State, StateChanged, Trigger
from ..registry import Registry
from .membership import BEAT_S, LIFETIME_S
from .store import OURS, Script, Store, StoreUnavailableError

#: Targets that one instance tells of, and that it hears of, at most.
MOST: Final = 128
#: So long no hint is believed on a target that a probe has found well after a hint, seconds.
DISTRUST_S: Final = 60.0
#: After so long all that is in force is said again, seconds.
_AGAIN_S: Final = 10.0
#: Between two questions at least, seconds; what opens meanwhile is told together.
_GAP_S: Final = 0.1
_log = logging.getLogger("resilience")
#: Triggers that failed or slow calls of this instance pull.
_OBSERVED: Final = frozenset((Trigger.FAILURE_RATE, Trigger.SLOW_RATE, Trigger.CONSECUTIVE, Trigger.SUSTAINED_FAILURES,
                              Trigger.PROBE_FAILED))

#: KEYS: the instances, a sorted set by the time of their last beats; the targets in question, one by the end of the
#: latest observation. ARGV: what the keys of the targets begin with; the gateway; the instance; LIFETIME_S; the
#: share; how many gateways at least; MOST; how many targets are down, are no more, and are not used here; those that
#: are down, each with the seconds that are left; those that are no more; those that are not used.
#: Returns the time, and, as JSON, for each target in question: its name, how many gateways see it down, how many use
#: it, and the end of what holds the share (0: nothing does).
HINTS: Final = Script(OURS + """\
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local at, gateway, me = ARGV[1], ARGV[2], ARGV[2] .. '#' .. ARGV[3]
local lifetime, share, least, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local function text(number) return string.format('%.6f', number) end
ours('ZADD', KEYS[1], text(now), me)
ours('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - lifetime))
ours('ZREMRANGEBYSCORE', KEYS[1], '(' .. text(now + lifetime), '+inf')
local i = 11
for _ = 1, ARGV[8] do
  local target, down = ARGV[i], at .. 'down:' .. ARGV[i]
  ours('ZADD', down, text(now + ARGV[i + 1]), me)
  redis.call('EXPIRE', down, 86400)
  ours('ZADD', KEYS[2], ours('ZREVRANGE', down, 0, 0, 'WITHSCORES')[2], target)
  i = i + 2
end
for _ = 1, ARGV[9] do
  ours('ZREM', at .. 'down:' .. ARGV[i], me)
  i = i + 1
end
for _ = 1, ARGV[10] do
  ours('ZADD', at .. 'unused:' .. ARGV[i], text(now), me)
  redis.call('EXPIRE', at .. 'unused:' .. ARGV[i], 86400)
  i = i + 1
end
redis.call('EXPIRE', KEYS[1], 86400)
local views, quorum = at .. 'views', ARGV[5] .. ':' .. ARGV[6]
local left = redis.call('PTTL', views)
if left == -1 or left > 250 then redis.call('PEXPIRE', views, 250) end
if ARGV[8] ~= '0' or ARGV[9] ~= '0' then
  redis.call('DEL', views)
else
  local view = ours('HGET', views, quorum)
  if view then return {text(now), view} end
end
ours('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now))
redis.call('EXPIRE', KEYS[2], 86400)
local found = {}
local asked = ours('ZREVRANGE', KEYS[2], 0, most - 1)
if #asked == 0 then return {text(now), '[]'} end
local alive, gateways, number = {}, {}, 0
for _, member in ipairs(ours('ZRANGE', KEYS[1], 0, -1)) do
  local name = string.match(member, '^(.*)#')
  alive[member] = name
  if name and not gateways[name] then gateways[name], number = true, number + 1 end
end
for _, target in ipairs(asked) do
  ours('ZREMRANGEBYSCORE', at .. 'down:' .. target, '-inf', text(now))
  local said = ours('ZREVRANGE', at .. 'down:' .. target, 0, -1, 'WITHSCORES')
  local seen, ends, users = {}, {}, number
  for n = 1, #said, 2 do
    local name = alive[said[n]]
    if name and not seen[name] then
      seen[name] = true
      ends[#ends + 1] = said[n + 1]
    end
  end
  for _, member in ipairs(ours('ZRANGEBYSCORE', at .. 'unused:' .. target, text(now - lifetime), '+inf')) do
    local name = alive[member]
    if name and not seen[name] then
      seen[name] = true
      users = users - 1
    end
  end
  local needed = math.max(least, math.ceil(share * users - 0.000001), 1)
  found[#found + 1] = {target, #ends, users, ends[needed] or '0'}
end
local view = cjson.encode(found)
ours('HSET', views, quorum, view)
if redis.call('PTTL', views) < 0 then redis.call('PEXPIRE', views, 250) end
return {text(now), view}
""")


def _nothing(_: float) -> Mapping[str, float]:
    return {}


@attrs.frozen(kw_only=True)
class Quorum:
    """How many gateways must see a target down.

    Attributes:
        share: Of those that use it, above 0 to 1.
        least: Of them at least.
    """

    share: float
    least: int


class CircuitHints:
    """One instance's part in it. For one event loop, in which it begins with start() and ends with close().

    Attributes:
        openings: How many circuits were opened by a hint.
    """

    def __init__(self, store: Store, registry: Registry, *, quorum: Quorum, gateway: str,
                 is_target: Callable[[str], bool],
                 ejected: Callable[[float], Mapping[str, float]] = _nothing) -> None:
        """Nothing is told or heard yet.

        Args:
            store: What is shared.
            registry: Whose circuits it is about.
            quorum: How many gateways must see a target down.
            gateway: The name of this one; what has the same counts once.
            is_target: Whether a key is that of a command here which is about the same target everywhere.
            ejected: Says at a time (seconds) which targets failed calls have put out of use otherwise, and until when.
        """
        self.openings = 0
        self._store, self._registry, self._quorum, self._gateway = store, registry, quorum, gateway
        self._is_target, self._ejected = is_target, ejected
        self._down: set[str] = set()  # keys of circuits that calls of this instance have opened
        self._told: dict[str, float] = {}  # those of them that the store was told of, and their ends
        self._again, self._epoch = 0.0, ""  # when, and for which content of the store, all is told
        self._hinted: set[str] = set()  # keys of circuits that a hint has opened, and no probe has answered yet
        self._distrusted: dict[str, float] = {}  # until when, by key
        self._unused: list[str] = []  # targets in question that are none of this instance's
        self._heard: dict[str, tuple[int, int]] = {}  # of targets in question here: how many see it down, of how many
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def report(self) -> dict[str, Any]:
        """How things are, as plain values."""
        return {"told": sorted(self._told), "openings": self.openings,
                "heard": {key: {"down": down, "of": of} for key, (down, of) in self._heard.items()}}

    @property
    def told(self) -> int:
        """How many targets the calls of this instance have found down."""
        return len(self._told)

    def start(self) -> None:
        """Begin, if that was not done yet, in the running event loop."""
        if self._task is not None:
            return
        loop = asyncio.get_running_loop()

        def told(event: StateChanged) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._note, event)

        self._unsubscribe = self._registry.subscribe(StateChanged, told)
        for command in self._registry:
            changes = command.snapshot().transitions if command.state is State.OPEN else ()
            if changes:
                self._note(changes[-1])
        self._task = loop.create_task(self._run(), name="circuit hints")

    def close(self) -> None:
        """Tell and hear no more. What was told lapses with this instance's life."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    # -- within

    def _note(self, event: StateChanged) -> None:
        """A circuit has changed."""
        key = event.key
        if event.new is State.OPEN and event.trigger in _OBSERVED:
            self._hinted.discard(key)
            if self._is_target(key):
                self._down.add(key)
                self._wake.set()
            return
        self._down.discard(key)
        if event.trigger is Trigger.FLEET:
            self._hinted.add(key)
            self.openings += 1
        elif event.new is State.CLOSED and key in self._hinted:
            self._hinted.discard(key)
            if event.trigger is Trigger.PROBES_PASSED:
                self._distrusted[key] = event.at + DISTRUST_S

    async def _run(self) -> None:
        while True:
            if self._store.is_connected:
                # Somebody else may write to the store, too: what cannot be read is not heard.
                try:
                    await self._exchange()
                except StoreUnavailableError:
                    pass
                except Exception as error:  # noqa: BLE001 - a second later there is another question
                    _log.debug("what the shared store says of circuits is not heard: %r", error)
            await asyncio.sleep(_GAP_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S - _GAP_S):
                    await self._wake.wait()

    async def _exchange(self) -> None:
        """Tell what this instance sees, and hear what all see."""
        self._wake.clear()
        now, prefix, quorum = self._registry.clock(), f"{self._store.prefix}circuits:", self._quorum
        down = self._observed(now)
        over = self._told.keys() - down.keys()
        if now >= self._again or self._store.epoch != self._epoch:
            self._told, self._again, self._epoch = {}, now + _AGAIN_S, self._store.epoch
        news = {key: end - now for key, end in down.items() if self._told.get(key) != end}
        self._told = {}  # until the store has heard it
        answer = await self._store.run(HINTS, (f"{prefix}gateways", f"{prefix}targets"), (
            prefix, self._gateway, self._store.instance, LIFETIME_S, quorum.share, quorum.least, MOST,
            len(news), len(over), len(self._unused),
            *(said for key, left in news.items() for said in (key, f"{left:.6f}")), *over, *self._unused))
        self._told = down
        self._hear(float(answer[0]), json.loads(answer[1].decode("utf-8", "replace")), now)

    def _observed(self, now: float) -> dict[str, float]:
        """Targets that this instance sees down, and until when it lets them be; of too many the first by name."""
        found = dict(self._ejected(now))
        for key in tuple(self._down):
            circuit = self._circuit(key)
            term = None if circuit is None else circuit.term
            if circuit is None or term is None or term.state is not State.OPEN:
                self._down.discard(key)  # it is gone, or about to be told
            elif circuit.shadow is None:
                found[key] = max(term.until, found.get(key, 0.0))
        return {key: found[key] for key in sorted(found)[:MOST] if found[key] > now}

    def _circuit(self, key: str) -> Circuit | None:
        command = self._registry.get(key) if self._is_target(key) else None
        return None if command is None else internals_of(command).runtime.circuit

    def _hear(self, at: float, rows: Sequence[Sequence[Any]], asked_at: float) -> None:
        """What the store says *at* its time to a question that was asked *asked_at*."""
        heard, unused = dict[str, tuple[int, int]](), list[str]()
        self._hinted = {key for key in self._hinted if self._registry.get(key) is not None}
        self._distrusted = {key: until for key, until in self._distrusted.items() if until > asked_at}
        for key, down, users, end in rows[:MOST]:
            if not isinstance(key, str):
                raise TypeError(f"{key!r} is no target's name")
            if self._registry.get(key) is None or not self._is_target(key):
                unused.append(key)
                continue
            heard[key] = int(down), int(users)
            left = float(end) - at
            if left > 0:
                self._open(key, left, asked_at, f"{int(down)} of {int(users)} gateways see it down")
        self._heard, self._unused = heard, unused

    def _open(self, key: str, left: float, asked_at: float, reason: str) -> None:
        circuit, now = self._circuit(key), self._registry.clock()
        if circuit is None or circuit.state is not State.CLOSED or key in self._distrusted:
            return
        breaker = self._registry[key].settings.breaker
        if breaker is not None:  # else nobody wants its circuit to open
            longest = max(breaker.open_for, breaker.open_max if breaker.open_growth > 1 else 0.0)
            circuit.hint(asked_at + min(left, longest * (1 + breaker.open_jitter)), reason, now)
