"""Registration: an instance of a service is registered for as long as it runs. A daemon thread registers and renews.

When which is due is pure and stands in lease_schedule.py; this is its driver. It has a thread and no task, so that an
event loop which is busy, or hangs, does not lose its lease, and synchronous services need no loop. Whether an instance
that hangs should keep its lease is what ``health`` is for.

Nothing waits for the registry: it may be away when the service starts, and is asked again until it is there. At the
end, DOWN is sent and the lease given back, within ``leave_timeout``. Whoever forgets to leave does so at the
interpreter's exit; a process that is killed leaves nothing behind but its lease, which runs out.

A lease belongs to the process that has begun it. A forked child knows nothing of it: it neither renews nor leaves.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import random as _random
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final

from ..core.checks import number
from ..drivers.system_clock import monotonic, waited_clock
from ..errors import ConfigError
from .daemon_thread import in_daemon_thread
from .eureka_registrar import EurekaRegistrar
from .lease_schedule import RENEWALS, LeaseAnswer, LeaseSchedule, LeaseState
from .one_line import one_line
from .registrant import InstanceStatus, Registrant
from .registrar import Registrar
from .thread_owners import ThreadOwners

_log = logging.getLogger("resilience")


class Registration:
    """Keeps an instance registered. Every method may be called from any thread.

    Use it as a context manager, sync or async, or pass it to ``registered()``.

    Attributes:
        registrant: The instance.
        registrar: Registers it.
    """

    def __init__(self, registrant: Registrant, registry: str | Sequence[str] | Registrar, *,
                 status: InstanceStatus = InstanceStatus.UP, lease: float = 90.0,
                 health: Callable[[], object] | None = None, timeout: float = 5.0, leave_timeout: float = 3.0,
                 clock: Callable[[], float] = monotonic, random: Callable[[], float] = _random.random) -> None:
        """A registration; nothing happens before start().

        Args:
            registrant: The instance.
            registry: Base URL of a Eureka server, such as "http://eureka-1:8761/eureka", or several that are asked in
                turn; the URL of a Redis server, such as "redis://redis-1:6379/0"; or a registrar.
            status: With which it begins.
            lease: Seconds without a renewal after which the registry may forget it. It is renewed three times as often.
            health: Called before each renewal, in a thread; if it returns something false or raises an exception, an
                instance that is UP is DOWN until it returns something true. None: it is what set_status() says.
            timeout: Longest time for one try to register or renew, seconds.
            leave_timeout: Longest time that leave() takes, seconds.
            clock: Monotonic seconds.
            random: Gives a number in [0, 1).

        Raises:
            ConfigError: A setting is out of range.
            ImportError: The registry is Redis, and there is no redis-py.
            TypeError: *registrant* is none.
        """
        if not isinstance(registrant, Registrant):
            raise TypeError("registrant must be a Registrant, such as Registrant('orders', '10.0.0.7', 8080), not "
                            f"{registrant!r}")
        for name, value in (("lease", lease), ("timeout", timeout), ("leave_timeout", leave_timeout)):
            mistake = number(least=0.05, most=86_400.0).mistake(value)
            if mistake is not None:
                raise ConfigError(f"{name} {mistake}", name)
        if health is not None and (not callable(health) or inspect.iscoroutinefunction(health)):
            raise ConfigError("health must be a plain function, which is called in a thread", "health")
        self.registrant, self.registrar = registrant, _registrar_of(registry)
        self._first_status, self._lease_s, self._health = InstanceStatus(status), lease, health
        self._timeout_s, self._leave_timeout_s = timeout, leave_timeout
        self._clock, self._random = clock, random
        self._lock = threading.RLock()
        self._keeper: _LeaseKeeper | None = None
        self._before: _LeaseKeeper | None = None  # the one that was asked to leave last, which may not have ended

    def __repr__(self) -> str:
        keeper = self._keeper
        state = "not started" if keeper is None else "registered" if keeper.is_registered else "not registered yet"
        return f"<registration of {self.registrant.name} with {self.registrar!r}: {state}>"

    def start(self, status: InstanceStatus | None = None) -> None:
        """Begin to register, in a thread, if that was not done yet. Nothing is waited for.

        Args:
            status: With which it begins; None: as was said when this was made.
        """
        _registrations.add(self)  # first: another thread may fork
        with self._lock:
            if self._keeper is not None:
                return
            first = self._first_status if status is None else InstanceStatus(status)
            self._keeper = keeper = _LeaseKeeper(self, first, self._before)
            try:
                keeper.thread.start()
            except BaseException:  # there may be no room for a thread
                self._keeper = None
                keeper.ask_to_leave()
                raise

    def set_status(self, status: InstanceStatus) -> None:
        """Say another status, at once, to whoever asks the registry. Nothing happens before start(), and after leave().

        Args:
            status: Of the instance.

        Raises:
            ValueError: There is no such status.
        """
        status, keeper = InstanceStatus(status), self._keeper
        if keeper is not None:
            keeper.set_status(status)

    def leave(self) -> None:
        """Say DOWN, give the lease back, and end; wait for that, but no longer than ``leave_timeout``.

        Nothing happens if it was not started, or by another process that this one was forked from.
        """
        keeper = self._asked_to_leave()
        if keeper is not None:
            self._await(keeper)

    async def leave_async(self) -> None:
        """As leave(), without holding the event loop up. It leaves even if whoever waits for it is cancelled."""
        keeper = self._asked_to_leave()
        if keeper is not None:
            await in_daemon_thread(functools.partial(self._await, keeper))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the registry has the instance, with its status; whether it has.

        Args:
            timeout: Seconds; None: for ever, or until it leaves.
        """
        keeper = self._keeper
        return keeper is not None and keeper.wait(timeout)

    @property
    def is_registered(self) -> bool:
        """Whether the registry has the instance, with its status, as far as is known."""
        keeper = self._keeper
        return keeper is not None and keeper.is_registered

    @property
    def status(self) -> InstanceStatus:
        """What the instance says of itself: what was set, and DOWN while it is not healthy."""
        keeper = self._keeper
        return self._first_status if keeper is None else keeper.schedule.status

    @property
    def trouble(self) -> str:
        """Why the last try failed; empty: it did not."""
        keeper = self._keeper
        return "" if keeper is None else keeper.schedule.trouble

    def __enter__(self) -> Registration:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def __aenter__(self) -> Registration:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave_async()

    def lifespan(self, inner: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
                 ) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
        """The lifespan of a Starlette or FastAPI application: ``FastAPI(lifespan=registration.lifespan())``.

        Args:
            inner: The application's own, which begins before the instance is UP, and ends after it has left.
        """
        return lambda app: _Lifespan(self, None if inner is None else functools.partial(inner, app))

    # -- within

    def _asked_to_leave(self) -> _LeaseKeeper | None:
        with self._lock:
            keeper, self._keeper = self._keeper, None
            if keeper is None or keeper.pid != os.getpid():
                return None
            self._before = keeper
        keeper.ask_to_leave()
        return keeper

    def _await(self, keeper: _LeaseKeeper) -> None:
        if not keeper.join():
            _log.warning("%s: %r does not answer; it may list the instance until the lease is over",
                         self.registrant.name, self.registrar)

    def _forget_parent(self) -> None:
        """In a forked child: the lease is the parent's."""
        self._lock = threading.RLock()
        self._keeper = self._before = None


class _Lifespan(AbstractAsyncContextManager[Any]):
    """The lifespan of one application, in which its exceptions are left as they are; see core.context_managers."""

    def __init__(self, registration: Registration,
                 make: Callable[[], AbstractAsyncContextManager[Any]] | None) -> None:
        self._registration, self._make = registration, make
        self._inner: AbstractAsyncContextManager[Any] | None = None

    async def __aenter__(self) -> Any:
        registration, state = self._registration, None
        registration.start(InstanceStatus.STARTING)
        try:
            if self._make is not None:
                self._inner = self._make()
                state = await self._inner.__aenter__()
        except BaseException:
            await registration.leave_async()
            raise
        registration.set_status(InstanceStatus.UP)
        return state

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> bool | None:
        try:
            await self._registration.leave_async()
        finally:
            is_handled = None if self._inner is None else await self._inner.__aexit__(kind, error, trace)
        return is_handled


class _LeaseKeeper:
    """One lease, and the thread that keeps it."""

    def __init__(self, of: Registration, status: InstanceStatus, before: _LeaseKeeper | None) -> None:
        self._before = before
        self._of, self._wanted, self._is_healthy, self._is_leaving, self._waited_until = of, status, True, False, 0.0
        self.schedule = LeaseSchedule(status, of._lease_s / RENEWALS, of._clock())
        self._changed, self._left = threading.Condition(threading.RLock()), threading.Event()
        self.pid = os.getpid()
        self.thread = threading.Thread(target=self._run, name=f"registration of {of.registrant.name}", daemon=True)

    @property
    def is_registered(self) -> bool:
        return self.schedule.state is LeaseState.PRESENT

    def set_status(self, status: InstanceStatus) -> None:
        with self._changed:
            self._wanted = status
            self._be()

    def ask_to_leave(self) -> None:
        with self._changed:
            self._is_leaving, self._waited_until = True, waited_clock() + self._of._leave_timeout_s
            self._changed.notify_all()

    def join(self) -> bool:
        """Wait until it has left, but no longer than the leave timeout after it was asked to; whether it has.

        Not by thread.join(): where that is interrupted, Python takes the thread for one that has ended (before 3.13).
        """
        is_own = self.thread is threading.current_thread()  # which leaves next
        return is_own or self._left.wait(max(0.0, self._waited_until - waited_clock()))

    def wait(self, timeout_s: float | None) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self.is_registered or self._is_leaving, timeout_s)
            return self.is_registered

    # -- in the thread

    def _run(self) -> None:
        of = self._of
        if self._before is not None:  # what it still says must not come after what this one says
            self._before.thread.join()
            self._before = None
        while self._wait_until_due():
            self._ask_health()
            with self._changed:
                step, status = self.schedule.began(), self.schedule.status
            answer, trouble = self._take(step, status)
            with self._changed:
                was_there, lease = self.is_registered, self.schedule
                is_news = lease.answered(answer, trouble, of._clock(), of._random())
                is_new = self.is_registered and not was_there
                self._changed.notify_all()
            if is_new:
                _log.info("%s: registered with %r as %s", of.registrant.name, of.registrar, status.value)
            if is_news and trouble:
                _log.warning("%s: cannot be %s with %r, and goes on trying: %s", of.registrant.name,
                             "registered" if step is LeaseState.ABSENT else "renewed", of.registrar, trouble)
            elif is_news:
                _log.warning("%s: %r answers again", of.registrant.name, of.registrar)
        self._depart()

    def _wait_until_due(self) -> bool:
        """Whether a step is due, and not to leave."""
        with self._changed:
            while not self._is_leaving:
                left = self.schedule.due - self._of._clock()
                if left <= 0.0:
                    return True
                self._changed.wait(left)
            return False

    def _ask_health(self) -> None:
        health = self._of._health
        if health is None:
            return
        try:
            is_healthy, reason = bool(health()), "it says so"
        except BaseException as error:  # noqa: BLE001 - whatever it is, the thread goes on
            is_healthy, reason = False, one_line(f"{type(error).__name__}: {error}")
        with self._changed:
            was_healthy, self._is_healthy = self._is_healthy, is_healthy
            self._be()
        if was_healthy is not is_healthy:
            _log.warning("%s: %s", self._of.registrant.name,
                         "healthy again" if is_healthy else f"DOWN, for it is not healthy: {reason}")

    def _be(self) -> None:
        """Have the status that follows; the caller holds the lock."""
        is_down = self._wanted is InstanceStatus.UP and not self._is_healthy
        if self.schedule.be(InstanceStatus.DOWN if is_down else self._wanted, self._of._clock()):
            self._changed.notify_all()

    def _take(self, step: LeaseState, status: InstanceStatus) -> tuple[LeaseAnswer, str]:
        of = self._of
        try:
            if step is LeaseState.ABSENT:
                of.registrar.register(of.registrant, status, of._lease_s, of._timeout_s)
                return LeaseAnswer.TAKEN, ""
            is_known = of.registrar.renew(of.registrant, status, of._lease_s, of._timeout_s)
        except BaseException as error:  # noqa: BLE001 - whatever a registrar raises, the thread goes on
            return LeaseAnswer.FAILED, one_line(error) or type(error).__name__
        return LeaseAnswer.TAKEN if is_known else LeaseAnswer.UNKNOWN, ""

    def _depart(self) -> None:
        """Say DOWN, so that whoever hears of one change hears of this, and give the lease back."""
        of, ends_at = self._of, self._of._clock() + self._of._leave_timeout_s
        try:
            if self.is_registered:
                of.registrar.register(of.registrant, InstanceStatus.DOWN, of._lease_s, of._leave_timeout_s / 2)
            of.registrar.leave(of.registrant, max(0.05, ends_at - of._clock()))
            _log.info("%s: has left %r", of.registrant.name, of.registrar)
        except BaseException as error:  # noqa: BLE001 - the lease runs out by itself
            _log.warning("%s: cannot leave %r; it may list the instance until the lease is over: %s",
                         of.registrant.name, of.registrar, one_line(error) or type(error).__name__)
        finally:
            self._left.set()


def _registrar_of(registry: Any) -> Registrar:
    if not isinstance(registry, (str, Sequence)):
        if not all(callable(getattr(registry, each, None)) for each in ("register", "renew", "leave")):
            raise ConfigError("registry must be a URL, several, or a registrar, which has register(), renew() and "
                              "leave()", "registry")
        return registry  # type: ignore[no-any-return]
    urls = (registry,) if isinstance(registry, str) else tuple(registry)
    if len(urls) == 1 and f"{urls[0]}".startswith(("redis:", "rediss:", "unix:")):
        from .redis_registrar import RedisRegistrar

        return RedisRegistrar(urls[0])
    return EurekaRegistrar(urls)


def _leave_at_exit(registrations: Sequence[Registration]) -> None:
    """Whoever has not left does so now, all at once, so that the exit waits for the slowest alone.

    So it does for those that are leaving, and whose callers were interrupted or cancelled.
    """
    for registration in registrations:
        registration._asked_to_leave()
    for registration in registrations:
        if registration._before is not None:
            registration._before.join()


_registrations: Final = ThreadOwners[Registration](_leave_at_exit, Registration._forget_parent)
