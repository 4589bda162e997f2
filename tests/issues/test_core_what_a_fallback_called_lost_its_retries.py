"""The command that a fallback calls made one attempt, and said that the retry of the failed call would repeat it.

That retry had ended: nobody repeats what answers for a call, nor what a listener does that hears of it. It stood on the
stack all the same, and its mark was in the context variable.
"""

import asyncio

import pytest

from resilience import CallFailed, CallRetried, Failover, Registry, Retry, StateChanged, command, retried_by
from tests.issues.every_flavour import FLAVOURS, guarded, isolation

RETRY = Retry(attempts=3, base=0, budget=None)
KINDS = ("a plain command", "a command of each key", "a failover")


def flaky(registry, flavour="sync", key="backup", failures=2):
    """A command that fails so many times, each time in vain if it is not retried; and who repeats its attempts."""
    attempts = []

    def body():
        attempts.append(retried_by())
        if len(attempts) <= failures:
            raise OSError("blip")
        return "from the backup"

    settings = {"key": key, "registry": registry, "timeout": None, "retry": RETRY, "breaker": None}
    return *guarded(flavour, command(**settings, **isolation(flavour)), body), attempts


def answering(flavour, backup):
    """A fallback of this *flavour* that calls *backup*, which is of the same."""
    if flavour in ("sync", "thread", "generator"):
        return lambda *args, **kwargs: backup()
    if flavour == "async":
        async def fallback(*args, **kwargs):
            return await backup()
    else:
        async def fallback(*args, **kwargs):
            async for item in backup():
                yield item
    return fallback


def failing(registry, flavour, kind, fallback, **settings):
    """A plain function that calls one of this *kind* which always fails, and has a *fallback*."""
    def body(target="one", **_):
        raise ConnectionError("down")

    kinds = {"a plain command": {"key": "primary"}, "a command of each key": {"key": lambda target="one": f"primary {target}"},
             "a failover": {"key": "primary", "failover": Failover(("eu", "us"), argument="region")}}
    if kind == "a failover":
        def body(target="one", *, region):
            raise ConnectionError(region)

    decorate = command(registry=registry, timeout=None, retry=RETRY, fallback=fallback, **kinds[kind], **settings,
                       **isolation(flavour))
    return guarded(flavour, decorate, body) if kind != "a failover" else _with_region(flavour, decorate, body)


def _with_region(flavour, decorate, body):
    def named(function):
        def of_region(target="one", *, region):
            return function(target, region=region)

        async def task_of_region(target="one", *, region):
            return await function(target, region=region)

        async def stream_of_region(target="one", *, region):
            async for item in function(target, region=region):
                yield item

        def items_of_region(target="one", *, region):
            yield from function(target, region=region)

        return decorate({"async": task_of_region, "async generator": stream_of_region,
                         "generator": items_of_region}.get(flavour, of_region))

    return guarded(flavour, named, body)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_fallback_makes_all_its_attempts(registry, flavour, kind):
    backup, _, attempts = flaky(registry, flavour)
    _, call = failing(registry, flavour, kind, answering(flavour, backup))

    assert "from the backup" == call()
    assert ["backup"] * 3 == attempts
    assert 0 == backup.resilience.snapshot().counts["retry_left_to_caller"]
    assert retried_by() is None


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_fallback_within_a_call_that_is_repeated_leaves_its_further_attempts_to_that(registry, flavour):
    """The retry of the call that it answers for is over; the one further out is not."""
    backup, _, attempts = flaky(registry, flavour)
    primary, _ = failing(registry, flavour, "a plain command", answering(flavour, backup))
    outer = command(key="outer", registry=registry, timeout=None, retry=RETRY, breaker=None, **isolation(flavour))
    if flavour == "async":
        @outer
        async def call():
            return await primary()

        assert "from the backup" == asyncio.run(call())
    elif flavour == "async generator":
        @outer
        async def call():
            return [item async for item in primary()][0]

        assert "from the backup" == asyncio.run(call())
    else:
        call = outer((lambda: next(primary())) if flavour == "generator" else lambda: primary())

        assert "from the backup" == call()
    assert ["outer"] * 3 == attempts


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("event", [CallFailed, CallRetried, StateChanged])
def test_what_a_listener_calls_makes_all_its_attempts_whatever_it_hears_of(event, flavour):
    registry = Registry()
    alert, _, attempts = flaky(registry, key="alert")
    heard = []
    registry.subscribe(event, lambda each: each.key == "job" and not heard and heard.append(alert()))

    def job():
        if event is StateChanged:
            registry["job"].force_open()
        raise ConnectionError("down")

    _, call = guarded(flavour, command(key="job", registry=registry, timeout=None, retry=RETRY, **isolation(flavour)), job)
    with pytest.raises(Exception):  # noqa: B017, PT011 - the failure, or the refusal after it
        call()

    assert ["from the backup"] == heard
    assert ["alert"] * 3 == attempts
    assert 0 == alert.resilience.snapshot().counts["retry_left_to_caller"]


async def test_the_call_goes_on_to_be_repeated_after_a_listener_has_heard_of_an_attempt(registry):
    inner, _, attempts = flaky(registry, "async", failures=100)
    registry.subscribe(CallFailed, lambda each: None)
    registry.subscribe(CallRetried, lambda each: None)

    @command(key="outer", registry=registry, timeout=None, retry=RETRY, breaker=None)
    async def outer():
        await inner()

    with pytest.raises(OSError, match="blip"):
        await outer()
    assert ["outer"] * 3 == attempts
