"""Steps: each filter as a command of the registry, in the group "filters", which bounds its time and counts.

A coroutine function is cut off at its time limit. Nobody can end a plain one, so that has failed if it took longer.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...decorate.commands import command
from ...errors import CallTimeoutError
from ...registry import Registry
from ..change import Act, at_once
from ..config import FilterConfig
from ..services.replacing import in_place
from .context import FilterContext
from .declare import KEYS, FilterDeclaration, FilterKind

if TYPE_CHECKING:
    from ..services.service import Service

GROUP: Final = "filters"
#: Calls of one filter that wait at once; Zuul's.
MAX_CONCURRENT: Final = 4000
#: A failure of the same filter is not logged again before so many seconds have passed.
LOG_EVERY_S: Final = 10.0


@attrs.define(eq=False)
class Step:
    """One filter of a gateway, ready to run.

    Attributes:
        config: What was said of it.
        declare: Makes the guarded function, and so declares what its command says, in the place of what it said.
        waits: Whether what it returns is to be awaited.
        said: When it runs and what it needs.
        close: Ends what it does in the background.
        others: Further filters that its table stands for.
        logged: When a failure of it was logged last.
        key: Of its command.
        services: Those that it alone asks.
        run: The guarded function, once it is in force.
    """

    config: FilterConfig
    declare: Callable[[], Callable[[FilterContext], Any]]
    waits: bool
    said: FilterDeclaration
    close: Callable[[], object]
    others: tuple[Step, ...] = ()
    logged: float = -LOG_EVERY_S
    key: str = ""
    services: Sequence[Service] = ()
    run: Callable[[FilterContext], Any] = attrs.field(init=False)
    name: str = attrs.field(init=False)
    when: Callable[[FilterContext], bool] | None = attrs.field(init=False)
    body: int | None = attrs.field(init=False)
    always: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        said = self.said
        self.name, self.when, self.body, self.always = self.config.name, said.when, said.body, said.always

    def begin(self) -> None:
        """Be in force."""
        self.run = self.declare()

    @property
    def fails_closed(self) -> bool:
        """Whether its failure is answered with an error."""
        return self.said.fail_closed or self.said.kind is FilterKind.ENDPOINT


def step_of(config: FilterConfig, call: Callable[[FilterContext], Any], registry: Registry,
            said: FilterDeclaration | None = None, once_in_force: Callable[[Act], object] = at_once) -> Step:
    """A filter as a command.

    Args:
        config: What was said of it.
        call: The function, or what its settings made.
        registry: Where the command is kept.
        said: Of one part of it; None: it is not made of parts.
        once_in_force: See FilterHost: the command is made, or changed, no sooner.
    """
    key, limit = f"{KEYS}{config.name}{'' if said is None else f'.{said.name}'}", config.time_limit
    said = config.declaration if said is None else said
    close: Callable[[], object] = getattr(call, "close", _nothing)
    usual: dict[str, Any] = {"key": key, "group": GROUP, "breaker": None, "registry": registry}
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004
        async def awaited(context: FilterContext) -> None:
            await call(context)

        guard = command(timeout=limit, max_concurrent=MAX_CONCURRENT, **usual)
        declare = functools.partial(in_place, registry, key, functools.partial(guard, awaited))
        step = Step(config, declare, True, said, close, key=key)
        once_in_force(step.begin)
        return step

    def timed(context: FilterContext) -> None:
        began = perf_counter()
        result = call(context)
        if result is not None and inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError(f"the filter {config.name} is no coroutine function, and returns something to await")
        if perf_counter() - began > limit:  # nobody can end it, but it has failed
            raise CallTimeoutError(key, limit)

    guard = command(timeout=None, max_concurrent=None, **usual)
    declare = functools.partial(in_place, registry, key, functools.partial(guard, timed))
    step = Step(config, declare, False, said, close, key=key)
    once_in_force(step.begin)
    return step


def _nothing() -> None:
    """What most filters do when they are closed."""
