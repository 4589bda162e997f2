"""Holding: the first items of a stream, kept back until there are enough of them to go on with.

What stands here goes between a generator's wrapper and the function's generator. As long as it has passed nothing on, a
failure is one before the first item to all policies above, so that the retry starts the stream over and the items that
were kept back are forgotten. With the last of them it passes all on, and from then on it only hands items through.

The clocks of the stream hear of each item that is kept back when it comes. The failure rules judge it then, and again
when it is passed on, as ``progress`` does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from .callables import transparent_frame
from .wrapper_spec import Flavour

if TYPE_CHECKING:
    from ..drivers.stream_timeouts import StreamWatch
    from .judging import Judging
    from .retrying import RetryPolicy

Raises = Callable[[Any, int], bool]


def holding(held: RetryPolicy, flavour: Flavour, judging: Judging | None, raises_item: Raises | None) -> Any:
    """What stands around the generators of one function.

    Args:
        held: The retry policy in force, which says how many items.
        flavour: Whether they are asynchronous.
        judging: The command's failure rules; None: there are none.
        raises_item: Whether an item that is judged failed ends the stream, given the error and how many items the
            consumer has.
    """

    def check(item: Any) -> None:
        verdict = None if judging is None or raises_item is None else judging.item(item)
        if verdict is not None and raises_item is not None and raises_item(verdict, 0):
            try:
                raise verdict
            finally:
                del verdict

    def hold(source: Generator[Any, Any, Any], watch: None) -> Generator[Any, Any, Any]:
        items: list[Any] = []
        try:
            has_ended, result = False, None
            while not has_ended and len(items) < held.policy.hold:
                try:
                    item = next(source)
                except StopIteration as end:
                    has_ended, result = True, end.value
                else:
                    check(item)
                    items.append(item)
            yield from items
            items.clear()
            return result if has_ended else (yield from source)
        finally:
            source.close()

    async def hold_async(source: AsyncGenerator[Any, Any], watch: StreamWatch | None) -> AsyncGenerator[Any, Any]:
        items: list[Any] = []
        try:
            async for item in source:
                items.append(item)
                check(item)
                if len(items) >= held.policy.hold:
                    break
                if watch is not None:
                    watch.arrived(item)
                    watch.wait()
            for item in items:
                yield item
            items.clear()
            step = source.__anext__()
            while True:
                item = await step
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as injected:  # noqa: BLE001 - it is the function's
                    step = source.athrow(injected)
                else:
                    step = source.asend(sent)
        except StopAsyncIteration:
            pass
        finally:
            await source.aclose()

    transparent_frame(check)
    return transparent_frame(hold_async if flavour.is_async else hold)
