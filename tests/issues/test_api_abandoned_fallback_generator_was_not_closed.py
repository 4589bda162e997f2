"""An async generator closed while its fallback answered left that one running, and its place taken, until later."""

import contextlib

from resilience import Fallback, command
from resilience.testing import virtual_time


def test_closing_closes_the_fallback_and_frees_its_place(registry):
    closed = []

    async def instead():
        try:
            while True:
                yield "fallback"
        finally:
            closed.append(True)

    @command(key="k", registry=registry, fallback=Fallback(instead, max_concurrent=1))
    async def rows():
        raise OSError
        yield

    async def main():
        for i in range(1, 4):
            async with contextlib.aclosing(rows()) as agen:
                assert "fallback" == await agen.__anext__()
            assert i == len(closed)

    virtual_time(main())
    counts = rows.resilience.snapshot().counts
    assert (3, 0, 3) == (counts["failure"], counts["fallback_rejection"], counts["fallback_emit"])
