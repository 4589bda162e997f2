"""Caching: the layer above a compiled wrapper, which answers without it if it can.

It stands above the wrapper's text, not in it: a hit must cost next to nothing, and
all that the text does serves an execution. What fails there, and a fallback or an expired
answer may answer for, is handed up to this layer (Unanswered), which knows more: an expired
answer goes first, and what the fallback says must not be kept. Each function has a store
of its own, since functions that share a command need not answer the same.

What is not there at the first look takes the slow way: find the store (of the
request, if that is the scope), lead an execution or follow one that is under way,
keep what comes of it. Followers and hits are counted as ``responses_from_cache`` and
as nothing else; a follower who is cancelled counts as cancelled. A hit that finds its answer due for a
refresh takes the slow way too: it begins one in the background, which is a leader like any
other, so that whoever comes when the answer has expired follows it. All ways are texts (cache_texts.py), which
threads and tasks share; what they decide is decided by methods.

A refresh that fails answers for nobody: who follows it leads then, with a fallback and a deadline of their own. Nor
does a call that failed for want of its leader's time, nor, to a follower whom no retry repeats, one that left its
further attempts to a retry around its leader.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

from ..core.cache import Cache, CacheEntry
from ..core.events import RefreshFailed
from ..core.exception_copy import copy_for_raise
from ..core.outcome import Event
from ..drivers.background_calls import BackgroundCalls
from ..drivers.deadline_context import in_use, remaining, waited_in_vain
from ..drivers.request import current_request
from ..drivers.retry_layers import retried_by
from ..drivers.single_flight import Flight, running_loop
from .answer_store import AnswerStore, CachePolicy, SharedAnswer
from .cache_keys import CacheKeys
from .cache_texts import CACHED, cache_texts
from .fallback_result import marking, marking_async, unmarked
from .site import Site
from .unanswered import Unanswered, hand_up, hand_up_async
from .wrapper_spec import Flavour

_CANCELLED: Final = (int(Event.CANCELLED),)
_STALE: Final = (int(Event.STALE_RESPONSES),)
_REFRESH: Final = (int(Event.REFRESH),)
_REFRESH_FAILURE: Final = (int(Event.REFRESH_FAILURE),)
_MISTAKE: Final = (int(Event.BAD_REQUEST), int(Event.EXCEPTIONS_THROWN))


class Caches:
    """The caches of a command's functions. The caller of configure() and add() holds the registry's lock.

    Attributes:
        held: What is in force.
        background: Refreshes run there.
        can_be_stale: A function was, or will be, compiled so that an expired answer may answer for its failed calls.
    """

    __slots__ = ("_each", "background", "can_be_stale", "held")

    def __init__(self, policy: Cache, background: BackgroundCalls) -> None:
        self.held, self.background, self.can_be_stale = CachePolicy(policy), background, policy.stale_if_error > 0
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
        was, self.held.policy, self.held.is_on = self.held.policy, policy, True
        for caching in self:
            caching.configure(policy)
        if was.scope != policy.scope:
            self.clear()

    def switch_off(self) -> None:
        """Execute every call from now on, until configure() is called."""
        self.held.is_on = False
        self.clear()

    def clear(self) -> None:
        """Forget all; what is being executed now will not be kept."""
        for caching in self:
            caching.clear()

    def renew(self) -> None:
        """Start over in a forked child, empty."""
        self.background.renew()
        for caching in self:
            caching.renew()


class Caching:
    """The cache of one function. Every method may be called from any thread.

    Attributes:
        fall_back: What the wrapper is to call instead of the function's own fall_back; None: it has none.
    """

    def __init__(self, caches: Caches, keys: CacheKeys, site: Site) -> None:
        runtime, own = site.runtime, site.fall_back
        self._held, self._background, self._keys, self._clock = caches.held, caches.background, keys, runtime.clock
        self._recorder, self._runtime, self._accounting = runtime.recorder, runtime, site.accounting
        self._hit = runtime.recorder.tally_cached()
        self._is_async, self._own_fall_back = site.flavour.is_async, own
        self.fall_back: Callable[..., Any] | None = None
        if own is not None or site.may_be_stale:
            self.fall_back = hand_up_async if self._is_async else hand_up
        self._shared = AnswerStore(caches.held, self._clock)
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
        first_look, slow_way, rescue, refresh = cache_texts(Flavour.ASYNC if self._is_async else Flavour.SYNC)
        own = self._own_fall_back
        answer = slow_way.bind({
            "call": call, "clock": self._clock, "answers_for": self._answers_for, "given": self._given,
            "cancelled": self._cancelled, "time_left": self._time_left, "unless_in_vain": self._unless_in_vain,
            "answers_caller": self._answers_caller,
            "unmarked": unmarked, "Unanswered": Unanswered, "Flight": Flight, "refresh_ahead": self._refresh_ahead,
            "rescue": rescue.bind({
                "stale_answer": self._stale_answer, "falls_back": self._falls_back,
                "fall_back": own and (marking_async if self._is_async else marking)(own)}),
            "refresh": refresh.bind({
                "call": call, "is_async": self._is_async, "running_loop": running_loop, "Unanswered": Unanswered,
                "Flight": Flight, "began": self._refresh_began, "refresh_failed": self._refresh_failed})})
        store = self._shared.store
        cached: Callable[..., Any] = first_look.bind({
            "answer": answer, "keys": self._keys, "special": not self._keys.plain, "find": store.find,
            "touch": store.touch, "clock": self._clock, "keeps": self._keeps,
            "recorder": self._recorder, "hit": self._hit})
        return cached

    def _answers_for(self, key: Hashable) -> tuple[AnswerStore | None, int, asyncio.AbstractEventLoop | None]:
        """Where the answers of a call of this *key* are kept, its epoch, and the caller's loop; None: they are not."""
        epoch = self._shared.store.epoch  # read first: if the scope changes now, what comes is not kept
        home = running_loop() if self._is_async else None
        if key is None or not self._keeps():
            return None, 0, None
        if self._is_async and home is None:  # driven by hand: nobody could wait
            return None, 0, None
        if self._held.policy.scope == "shared":
            return self._shared, epoch, home
        request = current_request()
        if request is None:
            return None, 0, None
        answers = request.kept.get(self._mark)
        if answers is None:
            answers = request.kept.setdefault(self._mark, AnswerStore(self._held, self._clock))
        return answers, answers.store.epoch, home

    def _given(self, found: CacheEntry | Flight, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The answer that was kept, or that somebody else's execution came to.

        An exception is raised, or the fallback answers for one that was kept, as it did before.
        """
        events, error, answer = CACHED, found.error, None
        if isinstance(found, Flight):
            answer = found.answer
            if type(answer) is SharedAnswer:
                events = _STALE if answer.is_stale else CACHED
                answer = self._copied(answer.value)
        elif error is None:
            answer = self._copied(found.value)
        self._recorder.count(events, self._clock())
        if error is None:
            return answer
        if isinstance(found, Flight):
            raise copy_for_raise(error, found.trace)
        error = copy_for_raise(error, None)
        if found.value and self._own_fall_back is not None:
            return self._own_fall_back(error, args, kwargs)
        raise error

    def _copied(self, value: Any) -> Any:
        """A copy for one more caller. What the user's function raises is the caller's mistake, and counted so."""
        try:
            return self._shared.copied(value)
        except Exception:
            self._recorder.count(_MISTAKE, self._clock())
            raise

    def _stale_answer(self, answers: AnswerStore, key: Hashable, error: BaseException) -> SharedAnswer | None:
        """What answers for a call that failed with *error*, if it may be answered for by an expired answer."""
        if not self._accounting.hands_up:
            return None
        stale = answers.stale(key, error)
        if stale is not None:
            self._recorder.count(_STALE, self._clock())
        return stale

    def _falls_back(self, error: BaseException) -> bool:
        """Whether the fallback answers for a call that failed with *error*; if not, that is counted."""
        accounting = self._accounting
        if self._own_fall_back is not None and accounting.falls_back(error):
            return True
        accounting.stayed(error, self._clock())
        return False

    # -- refresh

    def _refresh_ahead(self, refresh: Callable[..., Any], answers: AnswerStore, entry: CacheEntry, epoch: int,
                       args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin to refresh an *entry* that is due, unless somebody else has; it answers all the same."""
        if not answers.store.claim(entry, self._clock()) or answers.flights.is_led(entry.key):
            return
        background = self._background
        try:
            if self._is_async:
                background.begin_task(refresh, asyncio.get_running_loop(), answers, entry, epoch, args, kwargs)
            else:
                background.begin(refresh, answers, entry, epoch, args, kwargs)
        except Exception as error:  # noqa: BLE001 - no thread, no room: the caller has an answer, and gets that
            self._tell_of_failure(error)

    def _refresh_began(self) -> None:
        self._recorder.count(_REFRESH, self._clock())

    def _refresh_failed(self, answers: AnswerStore, entry: CacheEntry, epoch: int, error: Exception) -> None:
        """A refresh ended with *error*: that is kept if it is an answer, and told of if not."""
        if not answers.refresh_raised(entry, error, epoch, falls_back=self._accounting.falls_back(error)):
            self._tell_of_failure(error)

    def _tell_of_failure(self, error: BaseException) -> None:
        now, runtime = self._clock(), self._runtime
        self._recorder.count(_REFRESH_FAILURE, now)
        emitter = runtime.services.emitter
        if emitter.wanted(RefreshFailed):
            emitter.emit(RefreshFailed(runtime.key, runtime.group, error, now))

    # Methods, for picklers that send a wrapper by value leave those behind, and send functions with all that they use.

    def _keeps(self) -> bool:
        """Whether answers are kept and shared: the cache is not off."""
        return self._held.is_on

    def _time_left(self) -> float | None:
        """For how many seconds the caller may wait; None: as long as it takes."""
        return remaining() if in_use else None

    def _unless_in_vain(self, last: Flight | None, left: float | None, flight: Flight) -> Flight | None:
        """The *last* one that *flight* waited for; None: the whole of *left* was, by a clock that stands still."""
        if last is None or left is None or last is flight or last.over or not waited_in_vain(left, remaining() or 0.0):
            return last
        return None

    def _answers_caller(self, ended: Flight) -> bool:
        """Whether what came of an execution is this follower's answer, too.

        If it was repeated by a retry around its leader's call, and made one attempt therefore, it is for those only who
        repeat their calls as well.
        """
        return not ended.left_to_retry or retried_by() is not None

    def _cancelled(self) -> None:
        """Count a follower who went before there was an answer."""
        self._recorder.count(_CANCELLED, self._clock())
