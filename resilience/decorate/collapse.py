"""Collapsing: single calls, made at about the same time, become one call of a batch function.

This is the decorator. It stands above everything else that a function may have: the
batch function is normally a command, so its breaker, its timeout and its fallback see one
call for each batch. Which calls go together is core.batch's, who waits and who runs
drivers.thread_batches' and drivers.task_batches', who gets which answer core.batch_results'.

A batch is nobody's call in particular, so it does not run in the context of the one who
happened to come first, with that caller's own identity, deadline and trace. A batch of
scope "global" runs in a copy of the context that the function was decorated in; one of
scope "request" in a copy of its first caller's, who serves the same request as the
others. Neither has a deadline, or a retry that repeats it: these were set for other calls.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from contextvars import Context, copy_context
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, overload

import attrs

from ..commands.command import Command, internals_of
from ..commands.keyed_commands import KeyedCommands
from ..core.batch import BatchPlace, Collapse
from ..core.batch_results import deal, fail, outcome
from ..core.exception_copy import traceback_of
from ..core.parameters import signature_of
from ..core.setting_names import check_names
from ..drivers.background_calls import detach
from ..drivers.request import current_request
from ..drivers.task_batches import TaskBatches
from ..drivers.thread_batches import ThreadBatches
from ..engine.callables import check_guardable, flavour_of, look_like, name_of, said
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..metrics.batch_statistics import BatchStatistics
from ..registry import table_of
from .decoration import registry_of
from .signatures import UNSET

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S")

#: What a batch function may return: an answer, or an exception, for each item.
Answers = Mapping[K, V | BaseException] | Sequence[V | BaseException]


class Collapser(Protocol):
    """What ``collapse`` called with settings returns."""

    @overload
    def __call__(self, fn: Callable[[list[K]], Coroutine[Any, Any, Answers[K, V]]], /) -> (
            Callable[[K], Coroutine[Any, Any, V]]): ...
    @overload
    def __call__(self, fn: Callable[[S, list[K]], Coroutine[Any, Any, Answers[K, V]]], /) -> (
            Callable[[S, K], Coroutine[Any, Any, V]]): ...
    @overload
    def __call__(self, fn: Callable[[list[K]], Answers[K, V]], /) -> Callable[[K], V]: ...
    @overload
    def __call__(self, fn: Callable[[S, list[K]], Answers[K, V]], /) -> Callable[[S, K], V]: ...


@overload
def collapse(fn: Callable[[list[K]], Coroutine[Any, Any, Answers[K, V]]], /) -> (
        Callable[[K], Coroutine[Any, Any, V]]): ...
@overload
def collapse(fn: Callable[[S, list[K]], Coroutine[Any, Any, Answers[K, V]]], /) -> (
        Callable[[S, K], Coroutine[Any, Any, V]]): ...
@overload
def collapse(fn: Callable[[list[K]], Answers[K, V]], /) -> Callable[[K], V]: ...
@overload
def collapse(fn: Callable[[S, list[K]], Answers[K, V]], /) -> Callable[[S, K], V]: ...
@overload
def collapse(*, window: float = ..., max_batch: int = ..., scope: Literal["global", "request"] = ...,
             key: Callable[[Any], Hashable] | None = ...) -> Collapser: ...
def collapse(fn: Any = UNSET, /, **settings: Any) -> Any:
    """Collect single calls into one call of the batch function that is decorated.

    The batch function takes a list of items, none twice, and returns a mapping from item to answer, or a sequence of
    answers in the order of the list. An answer that is an exception is raised. The decorated function is called with
    one item, by position, and returns its answer. Each object's methods have batches of their own. A caller whose
    deadline() passes stops waiting.

    Args:
        fn: The batch function, if the decorator stands without parentheses: a plain function, for callers in threads,
            or a coroutine function, for callers in tasks.
        **settings: The settings below, each by its name.
        window: Seconds for which a batch waits for more calls after its first. Default 0.005.
        max_batch: Largest number of items in a batch; a full batch does not wait any longer. Default 100.
        scope: "global": all calls may share a batch. "request": only calls within one request_context() do; a call
            outside of one is a batch of its own, and starts at once.
        key: Function that is called with an item and returns a hashable value, by which equal items are recognised and
            answers are found in a mapping. Default: the item itself.

    Raises:
        ConfigError: A setting is out of range or unknown, or what is decorated cannot be a batch function.
        TypeError: What is decorated is not callable.
    """
    check_names(settings, attrs.fields_dict(Collapse), "@collapse")
    config = Collapse(**settings)
    return (lambda function: _collapsed(function, config)) if fn is UNSET else _collapsed(fn, config)


#: Where a collapsed function keeps its Batched; functools.wraps copies it along, hence Batched.single.
BATCHED: Final = "__resilience_batched__"


class Batched(NamedTuple):
    """What a collapsed function was made from."""

    single: weakref.ref[Callable[..., Any]]
    fn: Callable[..., Any]
    config: Collapse


def _collapsed(fn: Any, config: Collapse) -> Any:
    check_guardable(fn, "@collapse")
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(_collapsed(fn.__func__, config))
    flavour, name = flavour_of(fn), ".".join(name_of(fn))
    if flavour.is_generator:
        raise ConfigError(f"{name}: a generator has no result to deal out; let the batch function return a mapping or "
                          "a list")
    is_method = _is_method(fn, name)
    calls = _TaskCalls(fn, name, config) if flavour is Flavour.ASYNC else _ThreadCalls(fn, name, config)
    _collapsers.add(calls)
    single = calls.of_method() if is_method else calls.of_function()
    shown = signature_of(single)
    look_like(single, fn, ("__module__", "__name__", "__qualname__", "__doc__"))
    setattr(single, BATCHED, Batched(weakref.ref(single), fn, config))
    single.__signature__ = shown  # type: ignore[attr-defined]  # not the batch function's
    handle = said(fn, "resilience", Command) or said(fn, "resilience", KeyedCommands)
    if handle is not None:
        single.resilience = handle  # type: ignore[attr-defined]
    return single


def _is_method(fn: Callable[..., Any], name: str) -> bool:
    """Whether *fn* takes an object before its list of items.

    Raises:
        ConfigError: It takes neither the one nor the other.
    """
    signature = signature_of(fn)
    if signature is None:
        return False
    forms: tuple[tuple[Any, ...], ...] = (([],), (None, []))
    for arguments in forms:
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) > 1
    raise ConfigError(f"{name}: a batch function is called with one list of items, and it takes {signature}")


class _Kept(NamedTuple):
    """What a batch keeps of its first caller.

    Attributes:
        owner: The object whose method is called, if it is one.
        request: Which request it belongs to.
        context: What to run it in a copy of; nobody's deadline or retry is in force there.
    """

    owner: tuple[Any, ...]
    request: Any
    context: Context


def _own_context(kept: _Kept) -> Context:
    """The context that one batch runs in."""
    return kept.context.copy()


def _detached() -> Context:
    """A copy of the context in force, for calls that are nobody's in particular."""
    context = copy_context()
    context.run(detach)
    return context


_EVERYBODY: Final = (0,)  # the lane of a function whose batches are for all


class _Calls:
    """The calls of one batch function."""

    def __init__(self, fn: Callable[..., Any], name: str, config: Collapse) -> None:
        self._fn, self._name, self._key_of = fn, name, config.key
        self._by_request = config.scope == "request"
        self._context = _detached()
        self._command = said(fn, "resilience", Command)
        registry = registry_of(fn)
        self._clock = registry.clock
        self._collapses = BatchStatistics(name, window=config.window, max_batch=config.max_batch, now=self._clock())
        table_of(registry).add_collapses(self._collapses)

    def _lane(self, owner: tuple[Any, ...]) -> Hashable:
        """Return what calls have in common that may share a batch with one of the method of *owner*."""
        if not self._by_request:
            return (0, *map(id, owner))
        request = current_request()
        return None if request is None else (id(request), *map(id, owner))

    def _keep(self, owner: tuple[Any, ...]) -> _Kept:
        """What a batch is to keep of its first caller."""
        if not self._by_request:
            return _Kept(owner, None, self._context)
        return _Kept(owner, current_request(), _detached())

    def _asked(self, item: Any, owner: tuple[Any, ...]) -> tuple[Hashable, Hashable, Any, tuple[Any, ...]]:
        """Return lane, key, item and owner of a call, as the batches want them."""
        key = item if self._key_of is None else self._key_of(item)
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"{self._name}: equal items share an answer, so an item must be hashable, or collapse "
                            f"needs a key that is: {error}") from None
        if owner or self._by_request:
            return self._lane(owner), key, item, owner
        return _EVERYBODY, key, item, owner

    def renew(self) -> None:
        """Start over in a forked child: no statistics."""
        self._collapses.renew(self._clock())

    def _begins(self, places: list[BatchPlace]) -> list[Any]:
        """Count the calls of a batch, and return the items to ask for."""
        calls = sum(place.callers for place in places)
        if self._command is not None:
            internals_of(self._command).collapsed(calls)
        self._collapses.note(len(places), calls, self._clock())
        return [place.item for place in places]


class _ThreadCalls(_Calls):
    """The calls of a plain batch function, made by threads."""

    def __init__(self, fn: Callable[..., Any], name: str, config: Collapse) -> None:
        super().__init__(fn, name, config)
        self.batches = ThreadBatches(config, self._run, self._keep, _own_context, self._clock, name)

    def of_function(self) -> Callable[..., Any]:
        """The function that callers call with one item."""
        ask, asked = self.batches.ask, self._asked

        def single(item: Any, /) -> Any:
            return outcome(ask(*asked(item, ())))

        return single

    def of_method(self) -> Callable[..., Any]:
        """The method that callers call with one item."""
        ask, asked = self.batches.ask, self._asked

        def single(self: Any, item: Any, /) -> Any:
            return outcome(ask(*asked(item, (self,))))

        return single

    def _run(self, kept: _Kept, places: list[BatchPlace]) -> None:
        try:
            items = self._begins(places)
            deal(self._name, places, self._fn(*kept.owner, items))
        except Exception as error:  # noqa: BLE001 - it is raised by every caller
            fail(places, error, _below(error))


class _TaskCalls(_Calls):
    """The calls of a batch function that is a coroutine function, made by tasks."""

    def __init__(self, fn: Callable[..., Any], name: str, config: Collapse) -> None:
        super().__init__(fn, name, config)
        self.batches = TaskBatches(config, self._run, self._keep, _own_context, name)

    def of_function(self) -> Callable[..., Any]:
        """The coroutine function that callers call with one item."""
        enter, leave, asked = self.batches.enter, self.batches.leave, self._asked

        async def single(item: Any, /) -> Any:
            waiting = enter(*asked(item, ()))
            try:
                await waiting.waiter
            except BaseException:
                leave(waiting)
                raise
            if waiting.scopes:
                waiting.end_wait()
            place = waiting.asked
            return place.answer if place.error is None else outcome(place)

        return single

    def of_method(self) -> Callable[..., Any]:
        """The coroutine method that callers call with one item."""
        enter, leave, asked = self.batches.enter, self.batches.leave, self._asked

        async def single(self: Any, item: Any, /) -> Any:
            waiting = enter(*asked(item, (self,)))
            try:
                await waiting.waiter
            except BaseException:
                leave(waiting)
                raise
            if waiting.scopes:
                waiting.end_wait()
            place = waiting.asked
            return place.answer if place.error is None else outcome(place)

        return single

    async def _run(self, kept: _Kept, places: list[BatchPlace]) -> None:
        try:
            items = self._begins(places)
            deal(self._name, places, await self._fn(*kept.owner, items))
        except Exception as error:  # noqa: BLE001 - it is raised by every caller
            fail(places, error, _below(error))


def _below(error: Exception) -> Any:
    """The traceback of *error* without our own frame, which holds the places that will hold the error."""
    trace = traceback_of(error)
    return None if trace is None else trace.tb_next


_collapsers: Final[weakref.WeakSet[_ThreadCalls | _TaskCalls]] = weakref.WeakSet()


def _after_fork() -> None:
    for collapser in _collapsers:
        collapser.batches.renew()
        collapser.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
