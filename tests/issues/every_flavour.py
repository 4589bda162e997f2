"""One body, guarded in every flavour of function, and called as a plain function would be."""

import asyncio

FLAVOURS = ("sync", "thread", "async", "generator", "async generator")


def _ended(main):
    """A plain function that runs the coroutine function *main*.

    What that raises is carried past the task: asyncio shows tasks, and their exceptions, which may not let themselves
    be shown.
    """
    async def carried(args, kwargs):
        try:
            return await main(*args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - whatever it is
            return None, error

    def run(*args, **kwargs):
        result, error = asyncio.run(carried(args, kwargs))
        if error is not None:
            raise error
        return result

    return run


def guarded(flavour, decorate, body):
    """*body* as a function of this *flavour*, under *decorate*; and a plain function that calls it to its end."""
    if flavour in ("sync", "thread"):
        def function(*args, **kwargs):
            return body(*args, **kwargs)

        run = decorate(function)
        return run, run
    if flavour == "async":
        async def function(*args, **kwargs):
            await asyncio.sleep(0)
            return body(*args, **kwargs)

        run = decorate(function)

        return run, _ended(run)
    if flavour == "generator":
        def function(*args, **kwargs):
            yield body(*args, **kwargs)

        run = decorate(function)
        return run, lambda *args, **kwargs: [*run(*args, **kwargs)][0]

    async def function(*args, **kwargs):
        yield body(*args, **kwargs)

    run = decorate(function)

    async def first(*args, **kwargs):
        return [item async for item in run(*args, **kwargs)][0]

    return run, _ended(first)


def fallback_of(flavour, answer):
    """A fallback that answers so, for a function of this *flavour*."""
    def plain(*args, **kwargs):
        return answer

    def items(*args, **kwargs):
        yield answer

    return items if "generator" in flavour else plain


def isolation(flavour):
    """The option that has a plain function run where its *flavour* says."""
    return {"isolation": "thread"} if flavour == "thread" else {"isolation": "semaphore"} if flavour == "sync" else {}
