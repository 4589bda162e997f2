"""Caching: the layer above a compiled wrapper, which answers without it if it can.

It stands above the wrapper's text, not in it: a hit must cost next to nothing, and
all that the text does serves an execution. The fallback is in the text, below this
layer, though its answers must not be kept: so it hands them up in a mark (FallbackResult),
and they pass through. Each function has a store of its own, since functions that
share a command need not answer the same.

What is not there at the first look takes the slow way: find the store (of the
request, if that is the scope), lead an execution or follow one that is under way,
keep what comes of it. Followers and hits are counted as ``responses_from_cache`` and
as nothing else; a follower who is cancelled counts as cancelled. Both ways are texts, which
threads and tasks share; what they decide is decided by methods.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

from ..core.cache import Cache, Entry
from ..core.exception_copy import copy_for_raise
from ..core.outcome import Event
from ..drivers.deadline_context import in_use, remaining, waited_in_vain
from ..drivers.request import current_request
from ..drivers.single_flight import Flight, running_loop
from ..metrics.recorder import Recorder
from .cache_keys import CacheKeys
from .compiled_text import CompiledText, in_flavour
from .fallback_result import marking, marking_async, unmarked
from .kept_answers import CachePolicy, KeptAnswers
from .wrapper_spec import Flavour

_CACHED: Final = (int(Event.RESPONSES_FROM_CACHE),)
_CANCELLED: Final = (int(Event.CANCELLED),)

_FIRST_LOOK: Final = """\
{async_}def cached(*args, **kwargs):
    key = keys.of(args, kwargs) if special or kwargs else args
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
            {count}
        return entry.value
    return {await_}answer(key, args, kwargs)
"""

_SLOW_WAY: Final = """\
{async_}def answer(key, args, kwargs):
    answers, epoch, home = answers_for(key)
    if answers is None:
        return unmarked({await_}call(*args, **kwargs))
    if (found := answers.store.get(key, clock())) is not None:
        {give}
    flight = Flight(key, home)
    try:
        with flight:
            while type(found := answers.next(flight)) is Flight:
                left = time_left()
                try:
                    {wait}
                    found = unless_in_vain(found, left, flight)
                except BaseException:
                    cancelled()
                    raise
                if found is None or found.answered:
                    break
            if found is not None:
                {give}
            try:
                result = {await_}call(*args, **kwargs)
            except Exception as error:
                answers.failed(flight, error, epoch)
                raise
            return answers.came(flight, result, epoch)
    finally:
        try:
            answers.flights.leave(flight)
        except BaseException:  # an interrupt, and those who follow wait
            answers.flights.leave(flight)
            raise
        finally:
            del flight, found  # they know what is raised, and that knows this frame
"""

_WAIT: Final = {
    Flavour.SYNC: "found = found.wait(left, flight)",
    Flavour.ASYNC: "found = await found.wait_async(left, flight)",
}

_GIVE: Final = {
    Flavour.SYNC: "return given(found, args, kwargs)",
    Flavour.ASYNC: """\
given_answer = given(found, args, kwargs)
return given_answer if found.error is None else await given_answer""",
}


class Caches:
    """The caches of a command's functions. The caller of configure() and add() holds the registry's lock.

    Attributes:
        held: What is in force.
    """

    __slots__ = ("_each", "held")

    def __init__(self, policy: Cache) -> None:
        self.held = CachePolicy(policy)
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
        was, self.held.policy = self.held.policy, policy
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


class Caching:
    """The cache of one function. Every method may be called from any thread.

    Attributes:
        fall_back: What the wrapper is to call instead of the function's own fall_back; None: it has none.
    """

    def __init__(self, caches: Caches, keys: CacheKeys, *, clock: Callable[[], float], recorder: Recorder,
                 fall_back: Callable[..., Any] | None, is_async: bool) -> None:
        self._held, self._keys, self._clock, self._recorder = caches.held, keys, clock, recorder
        self._hit = recorder.tally_cached()
        self._is_async, self._unmarked_fall_back = is_async, fall_back
        self.fall_back = None if fall_back is None else marking_async(fall_back) if is_async else marking(fall_back)
        self._shared = KeptAnswers(caches.held, clock)
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

    # -- answer

    def over(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function that is called in place of *call*, the compiled wrapper."""
        first_look, slow_way = _texts(Flavour.ASYNC if self._is_async else Flavour.SYNC)
        answer = slow_way.bind({
            "call": call, "clock": self._clock, "answers_for": self._answers_for, "given": self._given,
            "cancelled": self._cancelled, "time_left": self._time_left, "unless_in_vain": self._unless_in_vain,
            "unmarked": unmarked, "Flight": Flight})
        store = self._shared.store
        cached: Callable[..., Any] = first_look.bind({
            "answer": answer, "keys": self._keys, "special": not self._keys.plain, "find": store.find,
            "touch": store.touch, "clock": self._clock, "recorder": self._recorder, "hit": self._hit})
        return cached

    def _answers_for(self, key: Hashable) -> tuple[KeptAnswers | None, int, asyncio.AbstractEventLoop | None]:
        """Where the answers of a call of this *key* are kept, its epoch, and the caller's loop; None: they are not."""
        epoch = self._shared.store.epoch  # read first: if the scope changes now, what comes is not kept
        home = running_loop() if self._is_async else None
        if key is None or (self._is_async and home is None):  # the latter: driven by hand, nobody could wait
            return None, 0, None
        if self._held.policy.scope == "shared":
            return self._shared, epoch, home
        request = current_request()
        if request is None:
            return None, 0, None
        answers = request.kept.get(self._mark)
        if answers is None:
            answers = request.kept.setdefault(self._mark, KeptAnswers(self._held, self._clock))
        return answers, answers.store.epoch, home

    def _given(self, found: Entry | Flight, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The answer that was kept, or that somebody else's execution came to.

        An exception is raised, or the fallback answers for one that was kept, as it did before.
        """
        self._recorder.count(_CACHED, self._clock())
        if isinstance(found, Flight):
            if found.error is not None:
                raise copy_for_raise(found.error, found.trace)
            return found.answer
        if found.error is None:
            return found.value
        error = copy_for_raise(found.error, None)
        if found.value and self._unmarked_fall_back is not None:
            return self._unmarked_fall_back(error, args, kwargs)
        raise error

    # Methods, for picklers that send a wrapper by value leave those behind, and send functions with all that they use.

    def _time_left(self) -> float | None:
        """For how many seconds the caller may wait; None: as long as it takes."""
        return remaining() if in_use else None

    def _unless_in_vain(self, last: Flight | None, left: float | None, flight: Flight) -> Flight | None:
        """The *last* one that *flight* waited for; None: the whole of *left* was, by a clock that stands still."""
        if last is None or left is None or last is flight or last.over or not waited_in_vain(left, remaining() or 0.0):
            return last
        return None

    def _cancelled(self) -> None:
        """Count a follower who went before there was an answer."""
        self._recorder.count(_CANCELLED, self._clock())


@functools.cache
def _texts(flavour: Flavour) -> tuple[CompiledText, CompiledText]:
    """The first look, and the slow way."""
    first_look = in_flavour(_FIRST_LOOK, flavour, count=f"recorder.count({_CACHED}, now)")
    slow_way = in_flavour(_SLOW_WAY, flavour, give=_GIVE[flavour], wait=_WAIT[flavour])
    return (CompiledText(first_look, f"cache of {flavour.value}"),
            CompiledText(slow_way, f"cache miss of {flavour.value}"))
