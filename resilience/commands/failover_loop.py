"""Failover loop: how a call goes on from target to target, for every flavour of function from one text.

While nothing is wrong none of this runs: what callers call is the first target's wrapper itself (engine.template). It
comes here as it would come to a fallback: when the call has failed there or was refused, or before it begins, if the
first target is not simply the one to ask. engine.failover_calls says which target follows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from ..drivers.sleeping import async_sleeper, sleeper
from ..engine.callables import transparent_frame
from ..engine.compiled_text import CompiledText, in_flavour, lease
from ..engine.failover_calls import FailingOver, FailoverCall, MovesOn
from ..engine.wrapper_spec import Flavour
from .dispatch import CALLS

if TYPE_CHECKING:
    from ..core.failover import Failover

_TEXT: Final = """\
{async_}def guarded(failover_call, args, kwargs):
    {lease}
    while True:
        while failover_call.pause:
            {await_}sleep(failover_call.pause)
            failover_call.resume()
        if failover_call.call is None:
            {answer}
        try:
            {call}
        except MovesOn as end:
            moved = end
        except BaseException:
            {ended}
            failover_call.left()
            raise
        else:
            {ended}
            failover_call.succeeded()
            {return_result}
        failover_call.go_on(moved.error, moved.event, moved.started)
        del moved
"""

_ANSWERS: Final = {
    Flavour.GENERATOR: "yield failover_call.answer()\nreturn",
    Flavour.ASYNC_GENERATOR: "yield failover_call.answer()\nreturn",
}


class _Asks:
    """Stands for the first target where something has to be asked before each call."""

    calm: Final = False


@functools.cache
def _text(flavour: Flavour) -> CompiledText:
    call = CALLS[flavour].replace("cell.call(", "failover_call.call(")
    answer = _ANSWERS.get(flavour, "return failover_call.answer()")
    pieces = lease(flavour, "def dropped():\n    failover_call.left()")
    return CompiledText(in_flavour(_TEXT, flavour, call=call, answer=answer, **pieces), f"{flavour.value} failover")


class FailoverLoop:
    """The loop of one function, as the wrapper of its first target goes into it.

    Methods, for picklers that send a wrapper by value leave those behind, and send functions with all that they use.
    """

    __slots__ = ("_argument", "_failing_over", "_loop")

    def __init__(self, failing_over: FailingOver, flavour: Flavour) -> None:
        self._failing_over = failing_over
        self._argument = cast("Failover", failing_over.rests[0].config).argument
        self._loop: Callable[[FailoverCall, Any, Any], Any] = transparent_frame(_text(flavour).bind({
            "MovesOn": MovesOn, "sleep": self._sleep_async if flavour.is_async else self._sleep}))

    @transparent_frame
    def go_elsewhere(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call that cannot simply go to the first target."""
        return self._loop(self._failing_over.begin(), args, kwargs)

    @transparent_frame
    def fail_over(self, error: BaseException, event: int, started: float, args: tuple[Any, ...],
                  kwargs: dict[str, Any]) -> Any:
        """Answer a call that began at *started* and has ended with *error*, counted as *event*, at the first target."""
        return self._loop(self._failing_over.after_first(error, event, started), args, kwargs)

    def _sleep(self, seconds: float) -> None:
        sleeper(self._failing_over.clock)(seconds)

    async def _sleep_async(self, seconds: float) -> None:
        await async_sleeper(self._failing_over.clock)(seconds)

    def given(self) -> TypeError:
        """Say what is wrong about a caller who gives the argument that is the failover's to give."""
        return TypeError(f"{self._failing_over.key} got the argument {self._argument!r}, which its failover gives to "
                         "the function")

    def names(self) -> dict[str, Any]:
        """What the wrapper of the first target uses, which callers call."""
        failing_over = self._failing_over
        return {"argument": self._argument, "given": self.given, "go_elsewhere": self.go_elsewhere,
                "fail_over": self.fail_over,
                "first_target": _Asks if failing_over.is_hedged else failing_over.rests[0]}
