"""Cache: answers kept for a time, so that equal calls need not reach the target.

What is least recently used goes first when there is no room. An answer is asked for
far more often than one is stored, so asking takes no lock: ``find`` is a dict's own
``get``, and what was used last is moved to the end of an ordered dict whose keys are
the entries themselves. Their equality is their identity, so that this one step in C
runs no code but its own; an argument's ``__eq__`` may be Python, and is only ever
called by the plain dict, which bears it. Changes take the lock; under it equality
is asked of two keys only if they have the same hash and are not the same object.

Clearing begins another epoch: an answer whose execution began in an earlier one is
old already when it comes, and is not stored. Each entry knows until when it is good,
so a new ``ttl`` is written into all of them. One that has expired is used no more, so
it comes to be among the least recently used; there each new answer looks at a few,
and the expired ones go. So they and their keys live no longer than new answers take
to come: there is no thread for this, and whoever wants them gone sooner clears.

With ``stale_if_error`` an expired value stays for as long as it may still answer for a call
that fails; ``find`` gives it, and ``get`` does not. With ``refresh_ahead`` an entry knows from
when on a hit is to refresh it. Whoever claims that puts the next time off, by a share of what
was to be ahead, and owes nothing: an attempt that fails, is refused or is lost needs no
giving back, and of the next hits one tries again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Final, Literal

import attrs

from ..errors import ConfigError
from .callable_identity import by_identity
from .checks import as_classes, flag, number, one_of, ordinary_exceptions, strict
from .locks import Lock
from .references import as_function, function_in_file, function_or_none

_LOOKS: Final = 2  # more than the one that comes: so the expired ones are caught up with
_ATTEMPTS: Final = 10  # to refresh an answer, at most, until it expires
_YEAR_S: Final = 31_536_000


@strict
@attrs.frozen(kw_only=True)
class Cache:
    """Cache policy: keeps results and returns them to later calls with equal arguments.

    Equal calls that arrive while one of them runs wait for its result, and do not run themselves. Immutable: any number
    of commands and threads may share one.

    Attributes:
        ttl: Seconds for which a result may be returned again; None: until ``max_size`` or the end of the request evicts
            it.
        max_size: Largest number of results that are kept. The least recently used one is evicted first.
        scope: "shared": all callers share one cache. "request": each request_context() has a cache of its own, and
            calls outside of one are not cached.
        by: Function that is called with the call's arguments and returns a hashable cache key, or None to leave this
            call uncached. Without it, calls are equal if their arguments are.
        cache_none: Whether a result of None is kept too.
        cache_exceptions: Classes of exceptions that are kept like results and raised again.
        stale_if_error: Seconds after its expiry for which a result is still returned if the call that is to replace it
            fails or is refused; 0: none. A function must be decorated with it: it cannot be put on later.
        refresh_ahead: Seconds before the expiry of a result from when on a call that gets it also starts a refresh in
            the background; 0: none. Less than ``ttl``.
        copy: Function that is given a result and returns a copy of it, such as ``copy.deepcopy``. It is applied to what
            is kept and to what is returned from the cache, so that callers may modify what they get. None: all callers
            get the same object.
    """

    ttl: float | None = attrs.field(default=60.0, validator=number(above=0, most=_YEAR_S, optional=True))
    max_size: int = attrs.field(default=1024, validator=number(least=1, most=10_000_000, whole=True))
    scope: Literal["shared", "request"] = attrs.field(default="shared", validator=one_of("shared", "request"))
    by: Callable[..., Hashable] | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())
    cache_none: bool = attrs.field(default=False, validator=flag)
    cache_exceptions: tuple[type[Exception], ...] = attrs.field(
        default=(), converter=as_classes, validator=ordinary_exceptions)
    stale_if_error: float = attrs.field(default=0.0, validator=number(least=0, most=_YEAR_S))
    refresh_ahead: float = attrs.field(default=0.0, validator=number(least=0, most=_YEAR_S))
    copy: Callable[[Any], Any] | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())

    def __attrs_post_init__(self) -> None:
        if self.refresh_ahead and (self.ttl is None or self.refresh_ahead >= self.ttl):
            lives = "nothing expires without a ttl" if self.ttl is None else \
                f"each result would be refreshed as soon as it came, for its ttl is {self.ttl!r}"
            raise ConfigError(f"refresh_ahead must be less than ttl, not {self.refresh_ahead!r}: {lives}",
                              "refresh_ahead")


class CacheEntry:
    """An answer: a value, or an exception.

    Attributes:
        since: When it came.
        lasts: Until when it is good.
        due: From when on a hit is to refresh it; infinite: never.
        until: Until when its value can be returned without a further look; past for an exception, and where callers
            get copies.
    """

    __slots__ = ("due", "error", "key", "lasts", "since", "until", "value")

    def __init__(self, key: Hashable, value: Any, error: Exception | None, since: float, policy: Cache) -> None:
        self.key, self.value, self.error, self.since = key, value, error, since
        self.go_by(policy)

    def go_by(self, policy: Cache) -> None:
        """Let the answer be good for as long as *policy* says, from when it came."""
        self.lasts = lasts = inf if policy.ttl is None else self.since + policy.ttl
        self.due = due = lasts - policy.refresh_ahead if policy.refresh_ahead else inf
        self.until = -inf if self.error is not None or policy.copy is not None else due if due < lasts else lasts

    def put_off(self, due: float) -> None:
        """Let no hit refresh it before *due*."""
        self.due = due
        if self.until != -inf:
            self.until = min(self.lasts, due)

    def dies(self, policy: Cache) -> float:
        """When it is of no more use."""
        return self.lasts if self.error is not None else self.lasts + policy.stale_if_error


class Store:
    """The answers of one function, for one scope. Every method may be called from any thread.

    Attributes:
        find: ``find(key)`` is the entry or None; the caller checks whether it is still good.
        touch: ``touch(entry)`` says that it was used; KeyError: it was thrown out meanwhile.
        epoch: To be read before an execution begins, and given to put() with what came of it.
    """

    __slots__ = ("_entries", "_lock", "_order", "_policy", "epoch", "find", "touch")

    def __init__(self, policy: Cache) -> None:
        self._policy = policy
        self._entries: dict[Hashable, CacheEntry] = {}
        self._order: OrderedDict[CacheEntry, None] = OrderedDict()  # least recently used first
        self.find, self.touch = self._entries.get, self._order.move_to_end
        self.epoch = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now: float) -> CacheEntry | None:
        """Return the entry that is good for *key*, and note that it was used; None: there is none."""
        entry = self.find(key)
        return None if entry is None or now >= entry.lasts else self._used(entry)

    def stale(self, key: Hashable, now: float) -> CacheEntry | None:
        """Return the entry that may answer for a call of *key* that has failed, and note that; None: there is none.

        It may have come while that call was under way, and be good.
        """
        entry, policy = self.find(key), self._policy
        if entry is None or entry.error is not None or not policy.stale_if_error or now >= entry.dies(policy):
            return None
        return self._used(entry)

    def claim(self, entry: CacheEntry, now: float) -> bool:
        """Whether the caller is to refresh *entry*. If so, nobody else is for a while, and there is nothing to undo."""
        with self._lock:
            if now < entry.due:
                return False
            entry.put_off(now + self._policy.refresh_ahead / _ATTEMPTS)
            return True

    def put(self, key: Hashable, value: Any, now: float, epoch: int, error: Exception | None = None,
            instead_of: CacheEntry | None = None) -> None:
        """Keep *value*, or *error*, if nothing was cleared since *epoch*.

        What came of a refresh is kept *instead_of* the entry that was refreshed, and only if that is still there: else
        somebody else has an answer that may be newer.
        """
        gone = []  # what is thrown out dies after the lock is free: its end may be user's code
        old = self.find(key)
        with self._lock:
            if epoch != self.epoch:
                return
            entry = CacheEntry(key, value, error, now, self._policy)
            if old is None or self._entries.get(old.key) is not old:
                old = self._entries.get(key)
            if instead_of is not None and instead_of is not old:
                return
            if old is not None:
                entry.key = old.key  # the dict keeps the first of two equal keys
            self._order[entry] = None  # first: whatever interrupts us, what is in the dict has its place here
            self._entries[entry.key] = entry
            if old is not None:
                gone.append(old)
                self._order.pop(old, None)
            self._sweep(now, gone)
            self._shrink(gone)

    def drop(self, key: Hashable, epoch: int, entry: CacheEntry | None = None) -> None:
        """Forget the answer for *key*, or this *entry* alone: the target has said something else, which is not kept."""
        gone: list[CacheEntry] = []
        old = self.find(key)
        if old is None or (entry is not None and entry is not old):
            return
        with self._lock:
            if epoch == self.epoch and self._entries.get(old.key) is old:
                self._drop(old, gone)

    def clear(self) -> None:
        """Remove all answers; what is being executed now will not be kept."""
        with self._lock:
            gone = list(self._order)
            self.epoch += 1
            self._entries.clear()
            self._order.clear()
        del gone

    def configure(self, policy: Cache) -> None:
        """Let the answers last as long as the new policy says, and take no more room than it allows."""
        gone: list[CacheEntry] = []
        with self._lock:
            self._policy = policy
            for entry in list(self._order):  # one step; touch() needs no lock
                entry.go_by(policy)
            self._shrink(gone)

    def renew(self) -> None:
        """Start over in a forked child, empty."""
        self._lock = Lock()
        self.clear()

    def _used(self, entry: CacheEntry) -> CacheEntry:
        try:
            self.touch(entry)
        except KeyError:  # thrown out just now
            pass
        return entry

    def _sweep(self, now: float, gone: list[CacheEntry]) -> None:
        for _ in range(_LOOKS):
            entry = self._oldest()
            if now < entry.lasts or now < entry.dies(self._policy):
                return
            self._drop(entry, gone)
            if not self._order:  # the new one too, if the clock is too coarse for its ttl
                return

    def _shrink(self, gone: list[CacheEntry]) -> None:
        while len(self._order) > self._policy.max_size:
            self._drop(self._oldest(), gone)

    def _oldest(self) -> CacheEntry:
        while True:
            try:
                return next(iter(self._order))
            except RuntimeError:  # somebody touched one between the two steps
                continue

    def _drop(self, entry: CacheEntry, gone: list[CacheEntry]) -> None:
        gone.append(entry)
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        self._order.pop(entry, None)
