"""configure() of a mapping refused a tuple where it takes a list."""

import pytest

from resilience import configure


@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_and_tuples_say_the_same(registry, kind):
    configuration = configure({"guards": {"json:dumps": {"timeout": False, "ignore": kind(["TypeError"])}}},
                              registry=registry, environ={})
    import json

    with pytest.raises(TypeError):
        json.dumps(object())
    [handle] = registry
    counts = handle.snapshot().counts
    configuration.close()
    assert (0, 1) == (counts["failure"], counts["bad_request"])
