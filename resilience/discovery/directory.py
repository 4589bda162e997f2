"""Directory: the instances of a service, for the code that calls them. A daemon thread follows a source.

It is the library's counterpart of a gateway's service: the same sources, the same rules of what becomes of a list
(membership.py), the same watch (watch.py). The watch needs an event loop, and has one in a thread of its own, so that
synchronous code can use it, and an application's loop is not held up when functions are guarded for another set of
instances.

Who reads never waits: the set is one immutable object, which the thread replaces. A forked child begins with the set of
its parent, and follows the source by itself from its first question on.
"""

from __future__ import annotations

import functools
import itertools
import logging
import random as _random
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from ..core.checks import number, text
from ..decorate.signatures import GuardedByKey
from ..drivers.system_clock import monotonic, waited_clock
from ..errors import ConfigError, ResilienceError
from ..registry import Registry, default_registry
from .cached_list import CachedList, name_of
from .daemon_thread import in_daemon_thread
from .instance import Instance
from .instance_commands import FailoverGroup, GuardedByInstance, forwarding, guarded_each
from .instance_set import InstanceSet, InstanceSetFollower
from .source import Source
from .source_thread import SourceThread
from .thread_owners import ThreadOwners
from .watch import Watch

P = ParamSpec("P")
T = TypeVar("T")

#: How long a thread waits at most for somebody who may have left meanwhile.
_SLICE_S: Final = 1.0
_log = logging.getLogger("resilience")


class NoInstanceError(ResilienceError, LookupError):
    """A directory knows no instance: its source has listed none yet."""


class Directory:
    """The instances of one service. Every method may be called from any thread.

    Use it as a context manager, sync or async.

    Attributes:
        name: Of the service; the commands of its instances begin with it.
        registry: Where these commands are.
    """

    def __init__(self, name: str, source: Source, *, zone: str = "", interval: float = 5.0, timeout: float = 5.0,
                 keep: str | None = None, registry: Registry | None = None, wait: float = 10.0,
                 clock: Callable[[], float] = monotonic, random: Callable[[], float] = _random.random) -> None:
        """A directory; nothing is asked before start().

        Args:
            name: Of the service.
            source: Lists the instances. It is asked in a thread with an event loop of its own.
            zone: Where the caller stands; instances there are preferred. Empty: zones do not matter.
            interval: Longest time until a change shows, seconds.
            timeout: Longest time for an answer of the source, seconds.
            keep: A file in which the last good list is kept, so that a restart begins with it; None: there is none.
            registry: Where the commands of the instances are; None: resilience.default_registry.
            wait: Seconds for which a ``with`` waits for the first list; it goes on without one after that.
            clock: Monotonic seconds.
            random: Gives a number in [0, 1).

        Raises:
            ConfigError: A setting is out of range.
            TypeError: *source* is none, such as a URL.
        """
        for setting, value, most in (("interval", interval, 3600.0), ("timeout", timeout, 3600.0)):
            mistake = number(least=0.05, most=most).mistake(value)
            if mistake is not None:
                raise ConfigError(f"{setting} {mistake}", setting)
        if (mistake := text().mistake(name)) is not None:
            raise ConfigError(f"name {mistake}", "name")
        if not callable(getattr(source, "listing", None)):
            raise TypeError("source must be an object with a method listing(), such as EurekaSource(...), not "
                            f"{source!r}")
        self.name, self.registry = name, default_registry if registry is None else registry
        self._source, self._zone, self._interval_s, self._timeout_s = source, zone, interval, timeout
        self._keep = None if keep is None else CachedList(keep, name_of(source))
        self._wait_s, self._clock, self._random = wait, clock, random
        self._numbers = itertools.count(int(random() * 1000))
        self._set = InstanceSet()
        self._followers: tuple[InstanceSetFollower, ...] = ()
        self._groups: dict[str, FailoverGroup] = {}
        self._lock = threading.RLock()
        self._known = threading.Event()
        self._following: SourceThread | None = None
        self._is_orphan, self._age_s = False, 0.0

    def __repr__(self) -> str:
        return f"<directory of {self.name}: {len(self._set.instances)} instances from {self._source!r}>"

    # -- life

    def start(self) -> None:
        """Begin to follow the source, in a thread, if that was not done yet. Nothing is waited for."""
        _directories.add(self)  # first: another thread may fork
        with self._lock:
            if self._following is None:
                watch = functools.partial(
                    Watch, self.name, self._source, interval_s=self._interval_s, timeout_s=self._timeout_s,
                    keep=self._keep, clock=self._clock, random=self._random)
                following = SourceThread(f"directory of {self.name}", watch, self._have,
                                         tuple(self._set.instances.values()), self._age_s)
                self._is_orphan, self._following = False, following
                try:
                    following.thread.start()
                except BaseException:  # there may be no room for a thread
                    self._following, following.has_ended = None, True
                    raise

    def close(self) -> None:
        """Follow the source no longer; the instances stay as they are."""
        with self._lock:
            self._age_s = self.age_s or 0.0
            following, self._following, self._is_orphan = self._following, None, False
        if following is not None:
            following.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there are instances; whether there are.

        Args:
            timeout: Seconds; None: for ever.
        """
        self._adopt()
        return self._known.wait(timeout)

    async def wait_async(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as wait()
        """As wait(), without holding the event loop up.

        Args:
            timeout: Seconds; None: for ever.
        """
        ends_at = None if timeout is None else waited_clock() + timeout
        while not self._known.is_set():
            left = _SLICE_S if ends_at is None else min(_SLICE_S, ends_at - waited_clock())
            if left <= 0.0:
                return False
            await in_daemon_thread(functools.partial(self.wait, left))  # whose thread ends, even if this is cancelled
        return True

    def __enter__(self) -> Directory:
        self.start()
        try:
            self._waited(self.wait(self._wait_s))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Directory:
        self.start()
        try:
            self._waited(await self.wait_async(self._wait_s))
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await in_daemon_thread(self.close)

    # -- look

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that the source has listed last, in the order in which they are preferred."""
        return tuple(each for tier in self._current().tiers for each in tier)

    def get(self, name: str) -> Instance | None:
        """The instance with this name; None: there is none.

        Args:
            name: Host, port and base path.
        """
        return self._current().instances.get(name)

    def pick(self, avoid: Collection[str] = ()) -> Instance:
        """An instance for one call: each in turn, by weight, of those that are preferred.

        Args:
            avoid: Names of instances that are chosen only if there are no others.

        Raises:
            NoInstanceError: There is none.
        """
        found = self._current().pick(next(self._numbers), avoid)
        if found is None:
            raise self._nobody()
        return found

    @property
    def age_s(self) -> float | None:
        """Seconds since the source has listed the instances; None: it never has, or nobody asks it."""
        following = self._following
        return None if following is None else following.watch.age_s

    def report(self) -> dict[str, Any]:
        """How things are, as plain values: the source, the age of the list, the trouble, and how often it was asked."""
        following = self._following
        said = {} if following is None else following.watch.report()
        return {"source": repr(self._source), **said, "instances": [each.url for each in self.instances]}

    # -- guard calls

    def failover(self, *, key: str | None = None, most: int = 20, argument: str = "target", grace: float = 30.0,
                 max_wait: float | None = None,
                 **settings: Any) -> Callable[[Callable[P, T]], GuardedByInstance[P, T]]:
        """A decorator for a function that may call any instance: it is called with one, and with another if it fails.

        The function gets an InstanceTarget, which has the ``url``, as its keyword argument *argument*. Each instance
        is a command of its own, as a target of resilience.Failover is, under the key "KEY[HOST:PORT]". Calls are spread
        by weight over the instances that are preferred; others only help out. Before the first list calls raise
        NoInstanceError.

        Args:
            key: Of the commands; functions with the same key share them. None: the name of the directory.
            most: The largest number of instances that are used, 1 to 100; each process uses others.
            argument: Name of the function's keyword parameter that gets the instance.
            grace: See resilience.Failover, as for max_wait.
            max_wait: Seconds.
            **settings: As for resilience.command: timeout, breaker, retry and so on. The registry is the directory's.

        Raises:
            ConfigError: A setting is out of range, or contradicts another.
        """
        key = self.name if key is None else key

        def decorate(fn: Callable[P, T]) -> GuardedByInstance[P, T]:
            with self._lock:
                group = self._groups.get(key)
                if group is None:
                    group = FailoverGroup(key, self.registry)
                said = {"most": most, "argument": argument, "grace": grace, "max_wait": max_wait}
                guarded = forwarding(fn, group, said, settings, self._nobody, self._set)
                if self._groups.setdefault(key, group) is group and group not in self._followers:
                    self._followers = (*self._followers, group)
            return guarded

        return decorate

    def each(self, *, key: str | None = None, argument: str = "instance",
             **settings: Any) -> Callable[[Callable[P, T]], GuardedByKey[P, T]]:
        """A decorator for a function that is called with an Instance: each has a command of its own, "KEY@HOST:PORT".

        The command, with its circuit, is forgotten when the instance is gone.

        Args:
            key: Begins the keys of the commands; functions with the same key share them. None: the directory's name.
            argument: Name of the function's parameter that is the instance.
            **settings: As for resilience.command. The registry is the directory's.

        Raises:
            ConfigError: A setting is out of range, or contradicts another; or the function has no such parameter.
        """
        def decorate(fn: Callable[P, T]) -> GuardedByKey[P, T]:
            guarded, follower = guarded_each(fn, self.name if key is None else key, argument, self.registry, settings)
            self._follow(follower)
            return guarded

        return decorate

    # -- within

    def _current(self) -> InstanceSet:
        """The set at this moment."""
        if self._is_orphan:
            self._adopt()
        return self._set

    def _follow(self, follower: InstanceSetFollower) -> None:
        """Tell a follower of the set that there is, and of each one to come; once of each, however often this is said.

        It is told in the directory's thread. What it raises because of the set that there is reaches the caller.
        """
        with self._lock:
            if self._set.instances:
                follower.have(self._set, ())
            if follower not in self._followers:
                self._followers = (*self._followers, follower)

    def _nobody(self) -> NoInstanceError:
        """What to raise if there is no instance."""
        following = self._following
        reason = "nobody follows its source; call start()" if following is None else \
            f"{self._source!r} has listed none yet: {following.watch.report()['trouble'] or 'it has not answered'}"
        return NoInstanceError(f"{self.name} has no instance; {reason}")

    def _have(self, instances: Sequence[Instance]) -> None:
        """Called in the thread."""
        with self._lock:
            new = InstanceSet(instances, self._zone)
            gone = tuple(each for name, each in self._set.instances.items() if name not in new.instances)
            for follower in self._followers:
                follower.have(new, gone)
            self._set = new
        self._known.set()

    def _waited(self, is_known: bool) -> None:
        if not is_known:
            _log.warning("%s: begins without an instance, for its source has listed none in %g s", self.name,
                         self._wait_s)

    def _adopt(self) -> None:
        """In a forked child that has a question: follow the source from now on."""
        with self._lock:
            if self._is_orphan:
                self.start()

    def _lose_parent(self) -> None:
        """In a forked child, where the thread is no more."""
        self._lock, self._age_s = threading.RLock(), self.age_s or 0.0
        known, self._known = self._known.is_set(), threading.Event()
        if known:
            self._known.set()
        self._is_orphan, self._following = self._following is not None, None


def _close_all(directories: Iterable[Directory]) -> None:
    """End the threads before the interpreter does: one that logs at that moment could hold a lock for ever."""
    for each in directories:
        each.close()


_directories: Final = ThreadOwners[Directory](_close_all, Directory._lose_parent)
