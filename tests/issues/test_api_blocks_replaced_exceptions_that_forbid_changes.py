"""What ``contextlib.contextmanager`` makes sets the traceback of an exception that passes through (python/cpython#99856),
and so did a block: where that is forbidden, the caller got a FrozenInstanceError. Elsewhere isinstance() asked
exceptions for their ``__class__``, which may be a property that raises.
"""

import asyncio
import contextlib
import traceback

import pytest

from resilience import (
    Cache,
    CircuitBreaker,
    Failover,
    FailureRules,
    Hedge,
    Pipeline,
    Retry,
    block,
    command,
    deadline,
    request_context,
)
from resilience.core.context_managers import context_manager
from resilience.core.retry_after import asked_for
from resilience.integrations import circuitbreaker, pybreaker
from resilience.testing import VirtualTimeLoop, disabled, forced_closed, forced_open, frozen, restored
from tests.discovery.test_registration import Scripted, registration
from tests.issues.every_flavour import guarded, isolation
from tests.issues.hostile import MAKERS, Frozen, Properties, check_same, ended


def _command_of(registry):
    @command(key="forced", registry=registry, timeout=None)
    def call():
        pass

    return call


def _outside(registry):
    loop = VirtualTimeLoop()
    loop.close()
    return loop.outside()


#: All context managers of the library that a user's own code may stand in.
MANAGERS = {
    "block": lambda registry: block("k", registry=registry, breaker=None),
    "call of a block": lambda registry: block("k", registry=registry, breaker=None)(),
    "request": lambda registry: request_context(),
    "deadline": lambda registry: deadline(5.0),
    "forced open": lambda registry: forced_open(_command_of(registry)),
    "forced closed": lambda registry: forced_closed(_command_of(registry)),
    "disabled": disabled,
    "restored": restored,
    "frozen": frozen,
    "outside virtual time": _outside,
    "pybreaker's": lambda registry: pybreaker.CircuitBreaker(registry=registry).calling(),
    "circuitbreaker's": lambda registry: circuitbreaker.CircuitBreaker(name="k", registry=registry),
}
ENDS = {**MAKERS, "StopIteration": lambda: StopIteration(7)}


def failing(raised):
    raise raised


@pytest.mark.parametrize("manager", MANAGERS)
def test_any_exception_leaves_any_block_as_it_is(registry, manager):
    for name, make in ENDS.items():
        raised = make()

        def within(raised=raised):
            with MANAGERS[manager](registry):
                failing(raised)

        check_same(ended(within), raised, name)


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_block_adds_nothing_to_a_traceback(registry, manager):
    def within():
        with MANAGERS[manager](registry):
            failing(OSError("down"))

    names = [frame.name for frame in traceback.extract_tb(ended(within).__traceback__)]

    assert ["ended", "within", "failing"] == [name for name in names if name != "<lambda>"]


@pytest.mark.parametrize("is_called", [True, False])
def test_any_exception_leaves_an_asynchronous_block_as_it_is(registry, is_called):
    for name, make in (*MAKERS.items(), ("StopAsyncIteration", lambda: StopAsyncIteration(7))):
        raised, found = make(), []

        async def main(raised=raised, found=found):
            whole = block("k", registry=registry, breaker=None, timeout=5.0)
            try:
                async with whole() if is_called else whole:
                    failing(raised)
            except BaseException as error:  # noqa: BLE001 - whatever it is
                found.append(error)

        asyncio.run(main())
        check_same(found[0], raised, name)


def test_a_lifespan_leaves_the_exceptions_of_its_application_as_they_are():
    left, mine = [], registration(Scripted())

    @contextlib.asynccontextmanager
    async def inner(app):
        yield "state"
        raise raised

    async def main():
        try:
            async with mine.lifespan(inner)("app") as state:
                left.append(state)
        except BaseException as error:  # noqa: BLE001 - whatever it is
            left.append(error)

    raised = Frozen()
    asyncio.run(main())

    assert "state" == left[0]
    check_same(left[1], raised)


# -- hedge and failover


#: Chains whose drivers carry an exception from one attempt, or target, to another, and who can have them.
_CALLS, _ALL = ("thread", "async"), ("thread", "async", "generator", "async generator")
CARRIERS = {
    "failover": ((Failover(("eu", "us")),), ("sync", *_ALL)),
    "cache above failover": ((Cache(), Failover(("eu", "us"))), ("sync", *_CALLS)),
    "retry above failover": ((Retry(attempts=2, base=0.0, budget=None), Failover(("eu", "us"))), ("sync", *_CALLS)),
    "failover of refusals": ((Failover(("eu", "us")), CircuitBreaker(), FailureRules(refused=(Exception,))),
                             ("sync", *_ALL)),
    "hedge": ((Hedge(idempotent=True, delay=0.001),), _ALL),
    "hedge of a failover": ((Failover(("eu", "us")), Hedge(idempotent=True, delay=0.001)), _ALL),
}


@pytest.mark.parametrize(("flavour", "chain"), [
    (flavour, chain) for chain, (_, flavours) in CARRIERS.items() for flavour in flavours])
def test_what_all_attempts_raise_reaches_the_caller_as_it_is(registry, flavour, chain):
    for name, make in MAKERS.items():
        raised = make()

        def body(target=None, raised=raised):
            raise raised

        pipeline = Pipeline(*CARRIERS[chain][0], registry=registry, key=f"{chain} {name}", **isolation(flavour))
        _, call = guarded(flavour, pipeline, body)

        check_same(ended(call), raised, name)


@pytest.mark.parametrize("name", MAKERS)
def test_a_hedged_stream_whose_attempts_fail_one_after_the_other_raises_what_the_first_did(registry, name):
    raised, found, seen = MAKERS[name](), [], []

    async def main():
        second_has_failed = asyncio.Event()

        @command(key="k", registry=registry, timeout=None, hedge=Hedge(idempotent=True, delay=0.001))
        async def items():
            seen.append(1)
            if len(seen) == 1:
                await second_has_failed.wait()
                await asyncio.sleep(0)  # the race hears of the second first
                raise raised
            second_has_failed.set()
            raise raised
            yield

        try:
            await anext(items())
        except BaseException as error:  # noqa: BLE001 - whatever it is
            found.append(error)

    asyncio.run(main())

    check_same(found[0], raised, name)
    assert 2 == len(seen)


def test_nothing_is_asked_of_a_result_that_forbids_it():
    assert asked_for(Properties(), None) is None

    class Lazy:
        __class__ = property(lambda self: 1 / 0)

    assert asked_for(Lazy(), None) is None


# -- the managers themselves


@context_manager
def noted(notes, name):
    """Notes."""
    notes.append(f"{name} begins")
    try:
        yield name
    finally:
        notes.append(f"{name} ends")


def test_a_manager_does_its_work_before_and_after_its_block():
    notes = []
    with noted(notes, name="a") as name:
        notes.append(name)

    assert ["a begins", "a", "a ends"] == notes
    assert ("noted", "Notes.") == (noted.__name__, noted.__doc__)


def test_a_manager_decorates_functions_as_one_of_contextlib_does():
    notes = []

    @noted(notes, "a")
    def double(number):
        """Twice."""
        return 2 * number

    assert (4, 6, "Twice.") == (double(2), double(3), double.__doc__)
    assert ["a begins", "a ends"] * 2 == notes[-4:]


def test_what_a_manager_raises_at_its_end_is_raised():
    @context_manager
    def angry():
        try:
            yield
        finally:
            raise KeyError("at the end")

    def within():
        with angry():
            failing(OSError())

    assert "KeyError('at the end')" == repr(ended(within))


def test_a_generator_that_goes_on_is_a_mistake():
    @context_manager
    def twice():
        yield
        yield

    with pytest.raises(RuntimeError, match="goes on after the end of its block"), twice():
        pass
