"""Caching: the layer above a compiled wrapper, which answers without it if it can.

It stands above the wrapper's text, not in it: a hit must cost next to nothing, and
all that the text does serves an execution. The fallback is in the text, below this
layer, though its answers must not be kept: so it hands them up in a mark (FallbackResult),
and they pass through. Each function has a store of its own, since functions that
share a command need not answer the same.

What is not there at the first look takes the slow way: find the store (of the
request, if that is the scope), lead an execution or follow one that is under way,
keep what comes of it. Followers and hits are counted as ``responses_from_cache`` and
as nothing else; a follower who is cancelled counts as cancelled. The two ways through it, for
threads and for tasks, differ in their ``await``s alone.
"""

from __future__ import annotations

import concurrent.futures
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

import attrs

from ..core.cache import Cache, Entry, Store
from ..core.exception_copy import copy_for_raise, copy_without_traceback
from ..core.exception_groups import holds, is_a, matches
from ..core.outcome import Event
from ..drivers.deadline_context import in_haste, in_use, remaining, waited_in_vain
from ..drivers.request import current_request
from ..drivers.single_flight import Flight, Flights, running_loop
from ..errors import RejectedError
from ..metrics.recorder import Recorder
from .cache_keys import CacheKeys

_CACHED: Final = (int(Event.RESPONSES_FROM_CACHE),)
_CANCELLED: Final = (int(Event.CANCELLED),)
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


class FallbackResult:
    """A fallback's answer on its way out of a wrapper, or its *failure*, and the error that it answers for."""

    __slots__ = ("answer", "error", "failure")

    def __init__(self, error: BaseException, answer: Any, failure: Exception | None = None) -> None:
        self.error, self.answer, self.failure = error, answer, failure


class Caches:
    """The caches of a command's functions. The caller of configure() and add() holds the registry's lock.

    Attributes:
        policy: What is in force.
    """

    __slots__ = ("_each", "policy")

    def __init__(self, policy: Cache) -> None:
        self.policy = policy
        self._each: tuple[weakref.ref[Caching], ...] = ()

    def __iter__(self) -> Iterator[Caching]:
        return iter([caching for each in self._each if (caching := each()) is not None])

    def __len__(self) -> int:
        return sum(len(caching) for caching in self)

    def add(self, caching: Caching) -> None:
        """One more function has one; it goes when the function does."""
        self._each = (*(each for each in self._each if each() is not None), weakref.ref(caching))

    def configure(self, policy: Cache) -> None:
        """Go by *policy* from now on. Answers kept for a request under way go by the old one."""
        was, self.policy = self.policy, policy
        for caching in self:
            caching.configure(policy)
        if was.scope != policy.scope:
            self.clear()

    def clear(self) -> None:
        """Forget all; what is being executed now will not be kept."""
        for caching in self:
            caching.clear()

    def renew(self) -> None:
        """Start over in a forked child, empty."""
        for caching in self:
            caching.renew()


@attrs.frozen
class _Answers:
    """A store, and the executions that will fill it."""

    store: Store
    flights: Flights


class Caching:
    """The cache of one function. Every method may be called from any thread.

    Attributes:
        fall_back: What the wrapper is to call instead of the function's own fall_back; None: it has none.
    """

    def __init__(self, caches: Caches, keys: CacheKeys, *, clock: Callable[[], float], recorder: Recorder,
                 fall_back: Callable[..., Any] | None, is_async: bool) -> None:
        self._caches, self._keys, self._clock, self._recorder = caches, keys, clock, recorder
        self._hit = recorder.tally_cached()
        self._is_async, self._bare_rescue = is_async, fall_back
        self.fall_back = None if fall_back is None else _marking_async(fall_back) if is_async else _marking(fall_back)
        self._shared = _Answers(Store(caches.policy), Flights())
        self._mark = object()  # a request's answers are kept for it under this

    def __len__(self) -> int:
        return len(self._shared.store)

    # -- steer

    def configure(self, policy: Cache) -> None:
        """See Caches."""
        self._shared.store.configure(policy)

    def clear(self) -> None:
        """See Caches."""
        self._mark = object()
        self._shared.flights.renew()
        self._shared.store.clear()

    def renew(self) -> None:
        """See Caches."""
        self._mark = object()
        self._shared.flights.renew()
        self._shared.store.renew()

    # -- the first look

    def over(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function that is called in place of *call*, the compiled wrapper."""
        return self._over_async(call) if self._is_async else self._over_sync(call)

    def _over_sync(self, call: Callable[..., Any]) -> Callable[..., Any]:
        store, clock, recorder, hit = self._shared.store, self._clock, self._recorder, self._hit
        find, touch, keys, special = store.find, store.touch, self._keys, not self._keys.plain

        def cached(*args: Any, **kwargs: Any) -> Any:
            key: Hashable = keys.of(args, kwargs) if special or kwargs else args
            try:
                entry = find(key)
            except TypeError:
                keys.check(key, args, kwargs)
                raise
            now = clock()
            if entry is not None and now < entry.until:
                try:
                    touch(entry)
                except KeyError:  # thrown out just now
                    pass
                if now < recorder.edge:
                    hit()
                else:
                    recorder.count(_CACHED, now)
                return entry.value
            return self._answer(call, key, args, kwargs)

        return cached

    def _over_async(self, call: Callable[..., Any]) -> Callable[..., Any]:
        store, clock, recorder, hit = self._shared.store, self._clock, self._recorder, self._hit
        find, touch, keys, special = store.find, store.touch, self._keys, not self._keys.plain

        async def cached(*args: Any, **kwargs: Any) -> Any:
            key: Hashable = keys.of(args, kwargs) if special or kwargs else args
            try:
                entry = find(key)
            except TypeError:
                keys.check(key, args, kwargs)
                raise
            now = clock()
            if entry is not None and now < entry.until:
                try:
                    touch(entry)
                except KeyError:  # thrown out just now
                    pass
                if now < recorder.edge:
                    hit()
                else:
                    recorder.count(_CACHED, now)
                return entry.value
            return await self._answer_async(call, key, args, kwargs)

        return cached

    # -- the slow way

    def _answer(self, call: Callable[..., Any], key: Hashable, args: _Args, kwargs: _Kwargs) -> Any:
        answers, epoch = self._answers()
        if answers is None or key is None:
            return _bare(call(*args, **kwargs))
        kept = answers.store.get(key, self._clock())
        if kept is not None:
            return self._given(kept, args, kwargs)
        flight = Flight(key)
        other: Entry | Flight | None = None
        try:
            with flight:
                while (other := self._next(answers, flight)) is not None:
                    if isinstance(other, Entry):
                        return self._given(other, args, kwargs)
                    if (other := self._waited(other, flight)) is None:
                        break
                    if other.answered:
                        return self._followed(other)
                try:
                    result = call(*args, **kwargs)
                except Exception as error:
                    self._failed(answers, flight, error, epoch)
                    raise
                return self._came(answers, flight, result, epoch)
        finally:
            try:
                answers.flights.leave(flight)
            except BaseException:  # an interrupt, and those who follow wait
                answers.flights.leave(flight)
                raise
            finally:
                del flight, other  # they know what is raised, and that knows this frame

    async def _answer_async(self, call: Callable[..., Any], key: Hashable, args: _Args, kwargs: _Kwargs) -> Any:
        answers, epoch = self._answers()
        home = running_loop()
        if answers is None or key is None or home is None:  # without a loop nobody could wait
            return _bare(await call(*args, **kwargs))
        kept = answers.store.get(key, self._clock())
        if kept is not None:
            return await self._given_async(kept, args, kwargs)
        flight = Flight(key, home)
        other: Entry | Flight | None = None
        try:
            with flight:
                while (other := self._next(answers, flight)) is not None:
                    if isinstance(other, Entry):
                        return await self._given_async(other, args, kwargs)
                    if (other := await self._waited_async(other, flight)) is None:
                        break
                    if other.answered:
                        return self._followed(other)
                try:
                    result = await call(*args, **kwargs)
                except Exception as error:
                    self._failed(answers, flight, error, epoch)
                    raise
                return self._came(answers, flight, result, epoch)
        finally:
            try:
                answers.flights.leave(flight)
            except BaseException:  # an interrupt, and those who follow wait
                answers.flights.leave(flight)
                raise
            finally:
                del flight, other  # they know what is raised, and that knows this frame

    def _answers(self) -> tuple[_Answers | None, int]:
        """Where the caller's answers are kept, and its epoch; None: they are not."""
        epoch = self._shared.store.epoch  # read first: if the scope changes now, what comes is not kept
        policy = self._caches.policy
        if policy.scope == "shared":
            return self._shared, epoch
        request = current_request()
        if request is None:
            return None, 0
        answers = request.kept.get(self._mark)
        if answers is None:
            answers = request.kept.setdefault(self._mark, _Answers(Store(policy), Flights()))
        return answers, answers.store.epoch

    def _next(self, answers: _Answers, flight: Flight) -> Entry | Flight | None:
        """Decide what to do now: return this answer, wait for this leader, or (None) run the function."""
        leader = answers.flights.lead_or_follow(flight)
        if leader is None:
            return answers.store.get(flight.key, self._clock())  # it may have come before we asked to lead
        return leader if leader.home is flight.home else None

    def _waited(self, leader: Flight, flight: Flight) -> Flight | None:
        """Wait for *leader*, and for whoever leads next; return the last leader.

        None: the wait would be for ever, or it is too late to begin, and then the wrapper says so.
        """
        try:
            with leader.waiting() as allowed:
                left = remaining() if in_use else None
                if not allowed or (left is not None and left <= 0.0):
                    return None
                last = leader.wait(left, flight)
                return None if self._in_vain(last, flight, left) else last
        except BaseException:
            self._recorder.count(_CANCELLED, self._clock())
            raise

    @staticmethod
    def _in_vain(last: Flight, flight: Flight, left: float | None) -> bool:
        """Whether the whole of *left* was waited for, by a clock that stands still."""
        return (left is not None and last is not flight and not last.over
                and waited_in_vain(left, remaining() or 0.0))

    async def _waited_async(self, leader: Flight, flight: Flight) -> Flight | None:
        """As the method above, for a task."""
        try:
            with leader.waiting() as allowed:
                left = remaining() if in_use else None
                if not allowed or (left is not None and left <= 0.0):
                    return None
                last = await leader.wait_async(left, flight)
                return None if self._in_vain(last, flight, left) else last
        except BaseException:
            self._recorder.count(_CANCELLED, self._clock())
            raise

    def _given(self, kept: Entry, args: _Args, kwargs: _Kwargs) -> Any:
        """The answer that was kept. An exception is raised, or the fallback answers for it, as it did before."""
        self._recorder.count(_CACHED, self._clock())
        if kept.error is None:
            return kept.value
        error = copy_for_raise(kept.error, None)
        if kept.value and self._bare_rescue is not None:
            return self._bare_rescue(error, args, kwargs)
        raise error

    async def _given_async(self, kept: Entry, args: _Args, kwargs: _Kwargs) -> Any:
        answer = self._given(kept, args, kwargs)
        return answer if kept.error is None else await answer

    def _followed(self, leader: Flight) -> Any:
        """Return the leader's result, or raise a copy of the leader's exception."""
        self._recorder.count(_CACHED, self._clock())
        if leader.error is not None:
            raise copy_for_raise(leader.error, leader.trace)
        return leader.answer

    def _came(self, answers: _Answers, flight: Flight, result: Any, epoch: int) -> Any:
        """Keep what an execution returned, if it is to be, and let those have it who wait for it."""
        if type(result) is FallbackResult:
            if in_haste(result.error):
                return _bare(result)  # nobody else's answer
            self._keep(answers, flight.key, result.error, epoch, fallback_ended=True)
            if result.failure is not None:
                flight.fail(result.failure)
                raise result.failure
            result = result.answer
        elif result is not None or self._caches.policy.cache_none:
            answers.store.put(flight.key, result, self._clock(), epoch)
        flight.succeed(result)
        return result

    def _failed(self, answers: _Answers, flight: Flight, error: Exception, epoch: int) -> None:
        if holds(error, concurrent.futures.CancelledError) or in_haste(error):
            return  # no answer, so somebody else leads
        self._keep(answers, flight.key, error, epoch, fallback_ended=False)
        flight.fail(error)

    def _keep(self, answers: _Answers, key: Hashable, error: Any, epoch: int, *, fallback_ended: bool) -> None:
        """Keep an *error* that is to be, unless it is a refusal: that was the moment's, and no answer."""
        kinds = self._caches.policy.cache_exceptions
        if kinds and is_a(error, Exception) and matches(error, kinds) and not holds(error, RejectedError):
            keepsake = copy_without_traceback(error)
            if keepsake is not None:
                answers.store.put(key, fallback_ended, self._clock(), epoch, keepsake)


def _bare(result: Any) -> Any:
    if type(result) is not FallbackResult:
        return result
    if result.failure is not None:
        raise result.failure
    return result.answer


def _marking(fall_back: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap *fall_back*, so that what comes of it can be told from what comes of the function."""

    def marked(error: BaseException, args: _Args, kwargs: _Kwargs) -> FallbackResult:
        try:
            return FallbackResult(error, fall_back(error, args, kwargs))
        except Exception as failure:  # noqa: BLE001 - the layer above raises it
            return FallbackResult(error, None, failure)

    return marked


def _marking_async(fall_back: Callable[..., Any]) -> Callable[..., Any]:
    async def marked(error: BaseException, args: _Args, kwargs: _Kwargs) -> FallbackResult:
        try:
            return FallbackResult(error, await fall_back(error, args, kwargs))
        except Exception as failure:  # noqa: BLE001 - the layer above raises it
            return FallbackResult(error, None, failure)

    return marked
