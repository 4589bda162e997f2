"""A generator that had handled an exception thrown into it kept it, and with it a cycle, as long as it lived."""

import asyncio
import contextlib
import gc
import weakref

from resilience import command


class Thrown(Exception):
    pass


def test_a_handled_exception_is_let_go(registry):
    @command(key="k", registry=registry, timeout=None)
    def rows():
        while True:
            with contextlib.suppress(Thrown):
                yield 1

    generator = rows()
    next(generator)
    gc.disable()
    try:
        thrown = Thrown()
        kept = weakref.ref(thrown)
        generator.throw(thrown)
        del thrown
        assert kept() is None
    finally:
        gc.enable()


def test_so_it_is_by_an_async_generator(registry):
    @command(key="k", registry=registry)
    async def rows():
        while True:
            with contextlib.suppress(Thrown):
                yield 1

    async def main():
        agen = rows()
        await agen.__anext__()
        thrown = Thrown()
        kept = weakref.ref(thrown)
        await agen.athrow(thrown)
        del thrown
        alive = kept() is not None
        await agen.aclose()
        return alive

    gc.disable()
    try:
        assert not asyncio.run(main())
    finally:
        gc.enable()
