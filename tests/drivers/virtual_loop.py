"""An event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors


class _Selector(selectors.DefaultSelector):
    loop = None

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the loop would wait for ever: nothing is ready and no timer is set")
        if not ready:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything can run; ``now`` may also be set by hand, to hold the loop up."""

    def __init__(self):
        selector = _Selector()
        super().__init__(selector)
        selector.loop, self.now = self, 1000.0

    def time(self):
        return self.now


def run(coroutine):
    """``asyncio.run`` on a fresh virtual loop: cancels what is left, and closes it."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
