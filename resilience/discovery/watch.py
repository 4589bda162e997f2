"""Watch: asks a source again and again, and tells a follower how the set of instances changes. One task for each.

The rules are pure and stand in membership.py. This is their driver: it waits, bounds each question in time, keeps the
list in a file, counts and logs. Making what an instance needs can take milliseconds, so they are prepared one by one,
between which the event loop has its turn, and then brought into force in one step.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from .cached_list import CachedList
from .disk import Disk
from .instance import Instance
from .membership import HOLD_S, ListVerdict, Membership, Update, pause_s
from .one_line import one_line
from .source import Listing, Source

#: How often the kept list is told that it was heard again.
TOUCH_EVERY_S: Final = 10.0
_MOST_NAMES: Final = 5  # in a line of the log
_log = logging.getLogger("resilience")


class Follower(Protocol):
    """Who has the instances."""

    def prepare(self, instances: Sequence[Instance]) -> Iterator[None]:
        """Make what instances need that are new, a little at each step; they may never come into force."""
        ...

    def follow(self, instances: Sequence[Instance]) -> None:
        """Have these instances from now on.

        Raises:
            Exception: It cannot; it has those from before.
        """
        ...

    def heard(self) -> None:
        """The source is asked, whatever it will say."""
        ...


class Watch:
    """The watch of one source. Of one event loop. Begins with start(), ends with stop(), and may begin again.

    Attributes:
        source: What is asked.
        follower: Who is told; another one may take its place. None: nobody is, and nothing is asked.
        is_required: Whether who serves the instances is not ready before they are known.
        counts: How often the source was asked, by what became of its answer.
    """

    def __init__(self, name: str, source: Source, follower: Follower, *, interval_s: float, timeout_s: float,
                 keep: CachedList | None, clock: Callable[[], float], random: Callable[[], float],
                 is_required: bool = True, hold_s: float = HOLD_S,
                 sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """A watch; nothing is asked yet.

        Args:
            name: Of the service, for the log.
            source: What is asked.
            follower: Who is told.
            interval_s: Longest time between two questions.
            timeout_s: Longest time for an answer.
            keep: Where the last good list is kept; None: nowhere.
            clock: Monotonic seconds.
            random: Gives a number in [0, 1).
            is_required: See the attribute.
            hold_s: See Membership.
            sleep: Waits for so many seconds.
        """
        self.source, self.is_required = source, is_required
        self.follower: Follower | None = follower
        self.counts = Counter[str]({each.value: 0 for each in ListVerdict})
        self._name, self._interval_s, self._timeout_s, self._keep = name, interval_s, timeout_s, keep
        self._hold_s = hold_s
        self._clock, self._random, self._sleep = clock, random, sleep
        self._members, self._disk = Membership(hold_s), Disk()
        self._is_kept, self._touch_at = False, 0.0
        self._known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a set, however old."""
        return self._members.is_known

    @property
    def is_awaited(self) -> bool:
        """Whether whoever serves the instances has to wait: there is no set, and there will be one."""
        return self.is_required and not self.is_known and self._task is not None

    async def known(self) -> None:
        """Wait until there is a set, or nobody asks for one any more."""
        await self._known.wait()

    @property
    def age_s(self) -> float | None:
        """Seconds since the source has listed the set that is in force; None: there is no set."""
        return self._members.age_s(self._clock())

    def report(self) -> dict[str, Any]:
        """How things are, as plain values."""
        members = self._members
        return {"source": repr(self.source), "age_s": self.age_s, "is_restored": members.is_restored,
                "trouble": members.trouble or None, "held": list(members.held), "asked": dict(self.counts)}

    def begin_with(self, instances: Sequence[Instance], age_s: float) -> None:
        """Take over a set from whoever had it before, listed *age_s* seconds ago; it is in force already."""
        self._members.restore(instances, age_s, self._clock())
        self._tell_known()

    def start(self) -> None:
        """Begin, if that was not done yet and there is a follower, in the running event loop."""
        if self._task is None and self.follower is not None:
            if not self.is_known:
                self._known.clear()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"source of {self._name}")

    def stop(self) -> None:
        """Ask no more; the set stays as it is."""
        task, self._task = self._task, None
        self._known.set()
        if task is not None and not task.get_loop().is_closed():
            task.cancel()

    def end(self) -> None:
        """Ask no more, whoever starts it, until there is another follower: this one is no more, and not kept alive."""
        self.stop()
        self.follower = None

    # -- within

    async def _run(self) -> None:
        if not self._members.is_known:
            await self._restore()
        while True:
            ttl_s = await self._ask()
            await self._sleep(pause_s(self._interval_s, ttl_s, self._random()))

    async def _restore(self) -> None:
        """Begin with the list that was kept, if there is one."""
        if self._keep is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                kept = await self._disk.run(self._keep.read)
            if kept is None or not kept[0]:
                return
            await self._follow(kept[0])
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the source may know better
            _log.error("%s: the list kept in %r cannot be used: %s", self._name, self._keep,
                       one_line(error) or type(error).__name__)
            return
        instances, age_s = kept
        self._members.restore(instances, age_s, self._clock())
        self._is_kept = True
        _log.warning("%s: begins with the %d endpoints kept in %r, heard of %.0f s ago", self._name, len(instances),
                     self._keep, age_s, extra={"upstream": self._name})
        self._tell_known()

    async def _ask(self) -> float | None:
        """Ask once, and do what follows; for how long the answer holds."""
        ttl_s = None
        try:
            if self.follower is not None:
                self.follower.heard()
            async with asyncio.timeout(self._timeout_s):
                listing: Any = await self.source.listing()
            if not isinstance(listing, Listing):
                raise TypeError(f"it gives {type(listing).__name__}, and no Listing")
            ttl_s = listing.ttl_s
            update = self._members.judge(listing, self._clock())
            if update.verdict is ListVerdict.CHANGED:
                await self._follow(tuple(update.instances.values()))
            await self._take(update)
        except Exception as error:  # noqa: BLE001 - whatever a source does, the set stays
            late = f"no answer within {self._timeout_s:g} s"
            reason = one_line(error) or (late if isinstance(error, TimeoutError) else type(error).__name__)
            self.counts[ListVerdict.FAILED.value] += 1
            if self._members.failed(reason, self._clock()):
                self._tell_trouble()
        return ttl_s

    async def _follow(self, instances: Sequence[Instance]) -> None:
        """Tell the follower; if another one takes its place meanwhile, that one."""
        told = None
        while told is not self.follower and self.follower is not None:
            told = self.follower
            for _ in told.prepare(instances):
                await asyncio.sleep(0)
                if told is not self.follower:
                    break
        if told is not None:
            told.follow(instances)

    async def _take(self, update: Update) -> None:
        now = self._clock()
        age_s = self._members.age_s(now)
        self.counts[update.verdict.value] += 1
        was_holding = bool(self._members.held)
        is_told = self._members.take(update, now)
        about = {"upstream": self._name}
        if update.mistakes:
            _log.warning("%s: %r has mistakes: %s", self._name, self.source, _listed(update.mistakes), extra=about)
        if update.trouble:
            if is_told:
                self._tell_trouble()
            return
        if is_told:
            _log.warning("%s: %r lists endpoints again, after %.0f s", self._name, self.source, age_s or 0.0,
                         extra=about)
        if update.held and not was_holding:
            _log.warning("%s: %r lists only %d of %d endpoints, as after a restart; the others stay for %g s: %s",
                         self._name, self.source, len(update.instances) - len(update.held), len(update.instances),
                         self._hold_s, _listed(update.held), extra=about)
        if update.verdict is ListVerdict.CHANGED:
            _log.info("%s: %r lists %d endpoints; new: %s; changed: %s; gone: %s", self._name, self.source,
                      len(update.instances), _listed(update.added), _listed(update.changed), _listed(update.gone),
                      extra=about)
        self._tell_known()
        await self._store(is_new=update.verdict is ListVerdict.CHANGED)

    async def _store(self, *, is_new: bool) -> None:
        """Keep the set, or note that it was heard again."""
        now = self._clock()
        if self._keep is None or (not is_new and self._is_kept and now < self._touch_at):
            return
        is_whole = is_new or not self._is_kept
        write = functools.partial(self._keep.write, tuple(self._members.instances.values()))
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._disk.run(write if is_whole else self._keep.touch)
            self._is_kept, self._touch_at = True, now + TOUCH_EVERY_S
        except OSError as error:
            if self._is_kept or is_new:
                _log.error("%s: its endpoints cannot be kept in %r: %s", self._name, self._keep,
                           f"{error}" or "the disk does not answer")
            self._is_kept = False

    def _tell_known(self) -> None:
        if self._members.is_known:
            self._known.set()

    def _tell_trouble(self) -> None:
        age_s, about = self.age_s, {"upstream": self._name}
        if age_s is None:
            _log.warning("%s: %r gives no list, and there is none from before: %s", self._name, self.source,
                         self._members.trouble, extra=about)
        else:
            _log.warning("%s: %r gives no list, and the last one of %d endpoints, heard of %.0f s ago, stays: %s",
                         self._name, self.source, len(self._members.instances), age_s, self._members.trouble,
                         extra=about)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    if not names:
        return "none"
    return "; ".join(map(one_line, names[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")
