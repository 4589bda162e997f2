"""Listeners that do more than listen."""

import pytest

from resilience import CircuitBreaker, StateChanged, command
from resilience.events import CallFailed, CallFellBack, CommandAdded


def failing(registry, **settings):
    @command(key="k", registry=registry, timeout=None, **settings)
    def call():
        raise OSError("down")

    return call


def test_a_listener_may_subscribe_another_one_which_hears_the_next_event(registry):
    heard = []

    def first(event):
        heard.append("first")
        registry.subscribe(StateChanged, lambda event: heard.append("second"))

    registry.subscribe(StateChanged, first)
    handle = failing(registry).resilience
    handle.force_open()
    assert ["first"] == heard
    handle.release()
    assert ["first", "first", "second"] == heard


@pytest.mark.written_out  # it is about how deep the stack is
@pytest.mark.parametrize("depth", range(0, 40, 3))
def test_a_listener_that_calls_the_failing_command_again_ends_in_one_logged_recursion_error(registry, caplog, depth):
    """Whatever depth it begins at: the frame in which the stack ends must not matter."""
    call = failing(registry, breaker=None, max_concurrent=None)
    registry.subscribe(CallFailed, lambda event: call())

    def from_below(frames):
        return from_below(frames - 1) if frames else call()

    with pytest.raises(OSError, match="down"):
        from_below(depth)

    assert 1 == len(caplog.records)
    assert 0 == call.resilience.snapshot().in_flight
    with pytest.raises(OSError, match="down"):
        call()
    assert 1 == len(caplog.records)


def test_a_listener_may_steer_and_configure_the_command_whose_change_it_hears(registry):
    call = failing(registry, breaker=CircuitBreaker(min_calls=1))

    def closer(event):
        if event.new == "open":
            call.resilience.force_closed()
            call.resilience.configure(max_concurrent=3)

    registry.subscribe(StateChanged, closer)
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            call()

    assert ("forced_closed", 3) == (call.resilience.state, call.resilience.settings.max_concurrent)
    assert ["open", "forced_closed"] == [change.new for change in call.resilience.snapshot().transitions]


def test_a_listener_may_decorate(registry):
    def echo(event):
        if not event.key.startswith("echo "):
            command(key=f"echo {event.key}", registry=registry, timeout=None)(len)

    registry.subscribe(CommandAdded, echo)
    failing(registry)

    assert {"k", "echo k"} == {handle.key for handle in registry}


def test_what_is_no_listener_or_no_kind_is_refused(registry):
    for kind, listener in (("StateChanged", print), (StateChanged, "print"), (None, print)):
        with pytest.raises(TypeError):
            registry.subscribe(kind, listener)


@pytest.mark.parametrize("flavour", ["sync", "async", "generator", "async generator"])
@pytest.mark.parametrize(("answer", "told"), [(None, "fallback_success"), (LookupError(), "fallback_failure"), (KeyboardInterrupt(), None)])
async def test_a_listener_is_told_how_a_fallback_ended_unless_it_was_interrupted(registry, flavour, answer, told):
    def down():
        raise OSError("down")

    async def async_down():
        raise OSError("down")

    def items():
        raise OSError("down")
        yield

    async def async_items():
        raise OSError("down")
        yield

    def fall_back():
        if answer is not None:
            raise answer
        return [7]

    heard = []
    registry.subscribe(CallFellBack, heard.append)
    fn = {"sync": down, "async": async_down, "generator": items, "async generator": async_items}[flavour]
    call = command(key="k", group="g", registry=registry, timeout=None, fallback=fall_back)(fn)
    try:
        if flavour == "sync":
            call()
        elif flavour == "async":
            await call()
        elif flavour == "generator":
            list(call())
        else:
            [each async for each in call()]
    except (LookupError, KeyboardInterrupt) as error:
        assert error is answer
    assert ([] if told is None else [CallFellBack("k", "g", told, registry.clock())]) == heard
    assert told is None or call.resilience.snapshot().counts[told] == 1
