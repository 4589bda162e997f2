"""A command that was removed between two ticks, and declared anew with another group, kept its old group in
/resilience.stream for as long as that listener was there.
"""

import json

import pytest

from resilience import command
from resilience.metrics import hystrix, stream


def declare(registry, group):
    @command(key="k", group=group, registry=registry, timeout=None)
    def call():
        pass

    return call


@pytest.mark.parametrize("encode", [stream.Encoder().messages, stream.Encoder().opening, hystrix.Encoder().messages])
def test_a_command_that_is_declared_anew_is_shown_in_its_new_group(registry, encode):
    shown = []
    for group in ("one", "other", "one"):
        kept = declare(registry, group)  # noqa: F841 - it goes with its function
        shown += [json.loads(message)["group"] for message in encode(registry, 0)]
        registry.remove("k")

    assert ["one", "other", "one"] == shown


def test_a_removed_command_is_still_told_of_once(registry):
    encoder = stream.Encoder()
    kept = declare(registry, "one")  # noqa: F841 - it goes with its function
    list(encoder.messages(registry, 0))
    registry.remove("k")

    assert [["ResilienceRemoved"], []] == [[json.loads(each)["type"] for each in encoder.messages(registry, 0)] for _ in "12"]
