"""The guard of what types.coroutine makes was a plain generator, which cannot be awaited."""

import asyncio
import types

import pytest

from resilience import command


def test_what_types_coroutine_makes_is_awaited_and_its_failures_count(registry):
    @command(registry=registry)
    @types.coroutine
    def step(fail):
        yield
        if fail:
            raise OSError
        return 3

    async def main():
        with pytest.raises(OSError):
            await step(True)
        return await step(False)

    assert 3 == asyncio.run(main())
    counts = step.resilience.snapshot().counts
    assert (1, 1) == (counts["success"], counts["failure"])
