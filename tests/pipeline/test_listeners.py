"""Listeners that do more than listen."""

import pytest

from resilience import CallFailed, CircuitBreaker, CommandAdded, StateChanged, command


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


def test_a_listener_that_calls_the_failing_command_again_ends_in_a_logged_recursion_error(registry, caplog):
    call = failing(registry, breaker=None, max_concurrent=None)
    registry.subscribe(CallFailed, lambda event: call())

    with pytest.raises(OSError, match="down"):
        call()

    # At the end of the stack a record may reach one handler and not the next; it counts as not logged, and is tried
    # again a few frames further up. How often depends on the depth that the test itself began at.
    logged = len(caplog.records)
    assert 1 <= logged < 20
    assert 0 == call.resilience.snapshot().in_flight
    with pytest.raises(OSError, match="down"):
        call()
    assert logged == len(caplog.records), "once it is logged, it is not logged again"


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
