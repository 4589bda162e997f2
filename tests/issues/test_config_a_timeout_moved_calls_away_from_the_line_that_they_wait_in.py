"""A timeout that moves a plain function to worker threads was taken although an adaptive limit lets calls wait.

Nobody waits for a slot there, and the pool's own queue has no such bound: the limit's ``max_queue`` did nothing. Of a
function that is decorated with it, the handle and a file always refused the timeout; but not if both came live.
"""

import pytest

from resilience import AdaptiveLimit, ConfigError, Registry, command, configure


def plain():
    @command(registry=Registry(), key="plain", adaptive_limit=AdaptiveLimit())
    def guarded():
        return 1

    return guarded


@pytest.mark.parametrize("steps", [
    [{"adaptive_limit": AdaptiveLimit(max_queue=3)}, {"timeout": 2.0}],
    [{"timeout": 2.0}, {"adaptive_limit": AdaptiveLimit(max_queue=3)}],
    [{"timeout": 2.0, "adaptive_limit": AdaptiveLimit(max_queue=3)}]],
    ids=["queue first", "timeout first", "both at once"])
def test_a_handle_refuses_the_two_together(steps):
    guarded = plain()
    handle = guarded.resilience
    for changes in steps[:-1]:
        handle.configure(**changes)
    before = handle.settings
    with pytest.raises(ConfigError, match="max_queue of an adaptive limit"):
        handle.configure(**steps[-1])
    assert handle.settings == before


def test_so_does_a_file():
    guarded = plain()
    before, registry = guarded.resilience.settings, guarded.__resilience_guard__.registry
    with pytest.raises(ConfigError, match="max_queue of an adaptive limit"):
        configure({"commands": {"plain": {"timeout": 2.0, "adaptive_limit": {"max_queue": 3}}}}, registry=registry)
    assert guarded.resilience.settings == before


def test_each_alone_is_taken():
    one, other = plain(), plain()
    one.resilience.configure(adaptive_limit=AdaptiveLimit(max_queue=3))
    other.resilience.configure(timeout=2.0)
    assert (one(), other()) == (1, 1)
    assert (one.resilience.settings.isolation, other.resilience.settings.isolation) == ("semaphore", "thread")
