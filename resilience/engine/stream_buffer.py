"""StreamBuffer: the first items of a stream, held back until there are enough of them, or of their bytes, to go on.

What stands here goes between a generator's wrapper and the function's generator. As long as it has passed nothing on, a
failure is one before the first item to all policies above, so that the retry starts the stream over and the items that
were kept back are forgotten. With the last of them it passes all on, and from then on it only hands items through.

The clocks of the stream hear of each item that is kept back when it comes. The failure rules judge it then, and again
when it is passed on, as ``progress`` does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from ..core.callbacks import call_back
from ..core.item_size import item_size
from ..core.retry import has_held_enough
from ..drivers.stream_leases import close, own
from .callables import transparent_frame

if TYPE_CHECKING:
    from ..drivers.stream_timeouts import StreamWatch
    from .failure_judge import FailureJudge
    from .retrying import RetryPolicy


class StreamBuffer:
    """What stands around the generators of one function.

    Args:
        held: The retry policy in force, which says how many items, or bytes.
        judging: The command's failure rules; None: there are none.
        raises_item: Whether an item that is judged failed ends the stream, given the error and how many items the
            consumer has.
    """

    __slots__ = ("_held", "_judging", "_raises_item")

    def __init__(self, held: RetryPolicy, judging: FailureJudge | None,
                 raises_item: Callable[[Any, int], bool] | None) -> None:
        self._held, self._judging, self._raises_item = held, judging, raises_item

    @transparent_frame
    def _check(self, item: Any) -> None:
        """Raise the error for an *item* that is judged failed, if that ends the stream."""
        if self._judging is None or self._raises_item is None:
            return
        verdict = self._judging.item(item)
        if verdict is not None and self._raises_item(verdict, 0):
            try:
                raise verdict
            finally:
                del verdict

    @transparent_frame
    def _size(self, item: Any) -> int:
        """The bytes of *item*, if anybody counts them."""
        policy = self._held.policy
        return call_back(item_size, (item, policy.hold_size), None) if policy.hold_bytes else 0

    @transparent_frame
    def hold(self, source: Generator[Any, Any, Any], watch: None) -> Generator[Any, Any, Any]:
        """The items of *source*, the first of them held back."""
        items: list[Any] = []
        size, has_ended, result = 0, False, None
        try:
            while not has_ended and not has_held_enough(self._held.policy, len(items), size):
                try:
                    item = next(source)
                except StopIteration as end:
                    has_ended, result = True, end.value
                else:
                    self._check(item)
                    size += self._size(item)
                    items.append(item)
            for item in items:  # what is sent in answer is dropped: the function is past all but the last
                yield item
            items.clear()
            return result if has_ended else (yield from source)
        finally:
            source.close()

    @transparent_frame
    async def _collected(self, source: AsyncGeneratorType[Any, Any], watch: StreamWatch | None) -> list[Any]:
        items: list[Any] = []
        size = 0
        async for item in source:
            self._check(item)
            size += self._size(item)
            items.append(item)
            if has_held_enough(self._held.policy, len(items), size):
                break
            if watch is not None:
                watch.arrived(item)
                watch.wait()
        return items

    @transparent_frame
    async def hold_async(self, source: AsyncGeneratorType[Any, Any],
                         watch: StreamWatch | None) -> AsyncGenerator[Any, Any]:
        """As hold(), for an async generator; *watch* is told of each item that is held back."""
        own(source)
        try:
            for item in await self._collected(source, watch):
                yield item
            step = source.__anext__()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as injected:  # noqa: BLE001 - it is the function's
                    step = source.athrow(injected)
                else:
                    step = source.asend(sent)
        finally:
            await close(source)
