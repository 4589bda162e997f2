"""Failover loop: how a call goes on from target to target, for every flavour of function from one text.

While nothing is wrong none of this runs: what callers call is the first target's wrapper itself (engine.template). It
comes here as it would come to a fallback: when the call has failed there or was refused, or before it begins, if the
first target is not simply the one to ask. engine.failing_over says which target follows.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from typing import Any, Final

from ..drivers.sleeping import async_sleeper, sleeper
from ..engine.callables import transparent_frame
from ..engine.compiler import Made, bound, made
from ..engine.failing_over import FailingOver, Journey, MovesOn
from ..engine.wrapper_spec import Flavour
from .dispatch import CALLS

_TEXT: Final = """\
{async_}def guarded(journey, args, kwargs):
    while True:
        while journey.pause:
            {await_}sleep(journey.pause)
            journey.resume()
        if journey.call is None:
            {answer}
        try:
{call}
        except MovesOn as end:
            moved = end
        except BaseException:
            journey.left()
            raise
        else:
            journey.succeeded()
            return{result}
        journey.go_on(moved.error, moved.event)
        del moved
"""

_ANSWERS: Final = {
    Flavour.GENERATOR: "yield journey.answer()\n            return",
    Flavour.ASYNC_GENERATOR: "yield journey.answer()\n            return",
}


class _Asks:
    """Stands for the first target where something has to be asked before each call."""

    calm: Final = False


@functools.cache
def _maker(flavour: Flavour) -> Made:
    text = _TEXT.format(
        async_="async " if flavour.is_async else "", await_="await " if flavour.is_async else "",
        call=textwrap.indent(CALLS[flavour].replace("cell.call(", "journey.call("), " " * 12),
        answer=_ANSWERS.get(flavour, "return journey.answer()"),
        result="" if flavour is Flavour.ASYNC_GENERATOR else " result")
    return made(text, f"<resilience {flavour.value} failover>")


def failover_names(failing_over: FailingOver, flavour: Flavour) -> dict[str, Any]:
    """What the wrapper of the first target uses, which callers call."""
    first, argument = failing_over.targets[0], failing_over.rests[0].config.argument
    clock = failing_over.clock
    loop: Callable[[Journey, Any, Any], Any] = bound(*_maker(flavour), {
        "MovesOn": MovesOn, "sleep": async_sleeper(clock) if flavour.is_async else sleeper(clock)})

    def go_elsewhere(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return loop(failing_over.begin(), args, kwargs)

    def fail_over(error: BaseException, event: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return loop(failing_over.after_first(error, event), args, kwargs)

    def given() -> TypeError:
        return TypeError(f"{failing_over.key} got the argument {argument!r}, which its failover gives to the function")

    for each in (go_elsewhere, fail_over, loop):
        transparent_frame(each)
    return {"argument": argument, "given": given, "go_elsewhere": go_elsewhere, "fail_over": fail_over,
            "first_target": _Asks if failing_over.is_hedged else first.held.rest}
