"""The testing kit said of a function with a callable for a key that it is not guarded, and not what to give instead."""

import pytest

from resilience import CircuitOpenError, command
from resilience.testing import assert_counts, disabled, forced_open


def test_the_kit_asks_for_the_command_of_one_key(registry):
    call = command(key=lambda host: f"host {host}", registry=registry, timeout=None)(len)
    entered = [lambda target, block=block: block(target).__enter__() for block in (disabled, forced_open)]
    for use in (assert_counts, *entered):
        for target in (call, call.resilience):
            with pytest.raises(TypeError, match=r"has a command for each key; give one of them, such as fn.resilience"):
                use(target)


def test_the_command_of_one_key_is_taken(registry):
    call = command(key=lambda host: f"host {host}", registry=registry, timeout=None)(len)
    call("a")
    with forced_open(call.resilience["host a"]), pytest.raises(CircuitOpenError):
        call("a")
    assert 1 == call("b")
