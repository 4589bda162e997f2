"""Caching: the layer above a compiled wrapper, which answers without it if it can.

It stands above the wrapper's text, not in it: a hit must cost next to nothing, and
all that the text does serves an execution. The fallback is in the text, below this
layer, though its answers must not be kept: so the text marks them (Rescued), and
they pass through. Each function has a store of its own, since functions that share a
command need not answer the same.

What is not there at the first look takes the slow way: find the store (of the
request, if that is the scope), lead an execution or follow one that is under way,
keep what comes of it. Followers and hits are counted as ``responses_from_cache`` and
as nothing else. The two ways through it, for threads and for tasks, differ in their
``await``s alone.
"""

from __future__ import annotations

import concurrent.futures
import copy
import inspect
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

import attrs

from ..core.cache import Cache, Entry, Store
from ..core.outcome import Event
from ..drivers.flights import Flight, Flights, running_loop
from ..drivers.request import current_request
from ..metrics.recorder import Recorder
from .policies import Fallback

_CACHED: Final = (int(Event.RESPONSES_FROM_CACHE),)
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]
_NAMED: Final = object()  # in a key, what follows it was given by name


class Rescued:
    """A fallback's answer on its way out of a wrapper, and the error that it answers for."""

    __slots__ = ("answer", "error")

    def __init__(self, answer: Any, error: BaseException) -> None:
        self.answer, self.error = answer, error


@attrs.define
class CachePolicy:
    """What is in force for a command; ``policy`` is replaced by configure()."""

    policy: Cache


@attrs.frozen
class _Answers:
    """A store, and the executions that will fill it."""

    store: Store
    flights: Flights


class Caching:
    """The cache of one function. Every method may be called from any thread."""

    def __init__(self, held: CachePolicy, fn: Callable[..., Any], *, key: Callable[..., Hashable] | None, clock: Callable[[], float], recorder: Recorder,
                 fallback: Fallback | None, rescue: Callable[..., Any] | None) -> None:
        self._held, self._fn, self._key, self._clock, self._recorder = held, fn, key, clock, recorder
        self._hit = recorder.tally_cached()
        self._fallback, self._rescue = fallback, rescue
        self._names = _names_of(fn)
        self._shared = _Answers(Store(held.policy), Flights())
        self._mark = object()  # a request's answers are kept for it under this

    # -- steer

    def configure(self, policy: Cache) -> None:
        """Go by *policy* from now on. Answers kept for a request under way go by the old one."""
        self._shared.store.configure(policy)

    def clear(self) -> None:
        """Forget all; what is being executed now will not be kept."""
        self._mark = object()
        self._shared.flights.renew()
        self._shared.store.clear()

    def renew(self) -> None:
        """Start over in a forked child, empty."""
        self._mark = object()
        self._shared.flights.renew()
        self._shared.store.renew()

    # -- the first look

    def over(self, call: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
        """What to call instead of *call*, the compiled wrapper."""
        return self._over_async(call) if is_async else self._over_sync(call)

    def _over_sync(self, call: Callable[..., Any]) -> Callable[..., Any]:
        store, clock, recorder, hit = self._shared.store, self._clock, self._recorder, self._hit
        find, touch, key_of, named = store.find, store.touch, self._key_of, self._key is not None

        def cached(*args: Any, **kwargs: Any) -> Any:
            key: Hashable = key_of(args, kwargs) if named or kwargs else args
            try:
                entry = find(key)
            except TypeError:
                self._check_hashable(key, args, kwargs)
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
        find, touch, key_of, named = store.find, store.touch, self._key_of, self._key is not None

        async def cached(*args: Any, **kwargs: Any) -> Any:
            key: Hashable = key_of(args, kwargs) if named or kwargs else args
            try:
                entry = find(key)
            except TypeError:
                self._check_hashable(key, args, kwargs)
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
        flight = Flight(key)
        with flight.boarded():
            try:
                while (other := self._next(answers, flight)) is not None:
                    if isinstance(other, Entry):
                        return self._given(other, args, kwargs)
                    with other.waiting() as allowed:
                        if not allowed:
                            break
                        other.wait()
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

    async def _answer_async(self, call: Callable[..., Any], key: Hashable, args: _Args, kwargs: _Kwargs) -> Any:
        answers, epoch = self._answers()
        home = running_loop()
        if answers is None or key is None or home is None:  # driven by hand: nobody could wait
            return _bare(await call(*args, **kwargs))
        flight = Flight(key, home)
        with flight.boarded():
            try:
                while (other := self._next(answers, flight)) is not None:
                    if isinstance(other, Entry):
                        answer = self._given(other, args, kwargs)
                        return await answer if other.error is not None else answer
                    with other.waiting() as allowed:
                        if not allowed:
                            break
                        await other.wait_async()
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

    def _answers(self) -> tuple[_Answers | None, int]:
        """Where the caller's answers are kept, and its epoch; None: they are not."""
        epoch = self._shared.store.epoch  # read first: if the scope changes now, what comes is not kept
        policy = self._held.policy
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
        """What to do now: give this answer, wait for this leader, or (None) execute."""
        found = answers.store.get(flight.key, self._clock())
        if found is not None:
            return found
        leader = answers.flights.board(flight)
        if leader is None:
            return answers.store.get(flight.key, self._clock())  # it may have come before we boarded
        return leader if leader.home is flight.home else None

    def _given(self, entry: Entry, args: _Args, kwargs: _Kwargs) -> Any:
        """The answer that was kept. An exception is raised, or the fallback answers, as an awaitable if it is async."""
        self._recorder.count(_CACHED, self._clock())
        if entry.error is None:
            return entry.value
        error = _another(entry.error, None)
        if self._rescue is not None and self._fallback is not None and isinstance(error, self._fallback.on):
            return self._rescue(error, args, kwargs)
        raise error

    def _followed(self, leader: Flight) -> Any:
        """What the leader got; his exception is raised as one of our own."""
        self._recorder.count(_CACHED, self._clock())
        if leader.error is not None:
            raise _another(leader.error, leader.trace)
        return leader.answer

    def _came(self, answers: _Answers, flight: Flight, result: Any, epoch: int) -> Any:
        """Keep what an execution returned, if it is to be, and let those have it who wait for it."""
        policy = self._held.policy
        if type(result) is Rescued:
            self._keep(answers, flight.key, result.error, epoch)
            result = result.answer
        elif result is not None or policy.cache_none:
            answers.store.put(flight.key, result, self._clock(), epoch)
        flight.succeed(result)
        return result

    def _failed(self, answers: _Answers, flight: Flight, error: Exception, epoch: int) -> None:
        if isinstance(error, concurrent.futures.CancelledError):
            return  # no answer, so somebody else leads
        self._keep(answers, flight.key, error, epoch)
        flight.fail(error)

    def _keep(self, answers: _Answers, key: Hashable, error: BaseException, epoch: int) -> None:
        if isinstance(error, Exception) and isinstance(error, self._held.policy.cache_exceptions):
            answers.store.put(key, None, self._clock(), epoch, _another(error, None))

    # -- keys

    def _key_of(self, args: _Args, kwargs: _Kwargs) -> Hashable:
        """What equal calls have in common: the arguments, by position as far as they go."""
        if self._key is not None:
            return self._key(*args, **kwargs)
        given, rest = list(args), dict(kwargs)
        for name in self._names[len(args):]:
            if name not in rest:
                break
            given.append(rest.pop(name))
        if rest:
            given += (_NAMED, *sorted(rest.items()))
        return tuple(given)

    def _check_hashable(self, key: Hashable, args: _Args, kwargs: _Kwargs) -> None:
        """Raise a TypeError that says what is wrong with *key*, if it is that it cannot be hashed."""
        where = getattr(self._fn, "__qualname__", repr(self._fn))
        if self._key is not None:
            parts = {"what key= returned": key}
        else:
            parts = {f"the argument {name!r}": value for name, value in _by_name(self._fn, args, kwargs)}
        for what, value in parts.items():
            try:
                hash(value)
            except TypeError as error:
                raise TypeError(f"{where} is cached, and {what} ({type(value).__name__}) cannot be hashed; give Cache "
                                "a key= that makes something hashable of the arguments") from error


def _bare(result: Any) -> Any:
    return result.answer if type(result) is Rescued else result


def _names_of(fn: Callable[..., Any]) -> tuple[str | None, ...]:
    """Parameters by position; None: it has no name to the caller."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return ()
    return tuple(None if each.kind is each.POSITIONAL_ONLY else each.name for each in parameters
                 if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD))


def _by_name(fn: Callable[..., Any], args: _Args, kwargs: _Kwargs) -> Iterator[tuple[str, Any]]:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        yield from ((str(position), value) for position, value in enumerate(args))
        yield from kwargs.items()
        return
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def _another(error: Exception, trace: Any) -> Exception:
    """A copy of *error* to raise; the same, if it does not let itself be copied.

    What is raised collects traceback and context, and each caller's are his own. And what is kept must not keep
    the frames of whoever met it first.
    """
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - its __init__ wants something else than its args, and says so in its own way
        return error
    if type(twin) is not type(error):
        return error
    twin.__cause__, twin.__suppress_context__ = error.__cause__, error.__suppress_context__
    if hasattr(twin, "__notes__"):
        twin.__notes__ = list(twin.__notes__)
    return twin.with_traceback(trace)
