"""``Registry.restore()`` looked at an entry when its command was declared. A broken one for a command that comes later passed, and
its decoration, in another module and long after, raised the error; one for a command that was there left those before it restored.
"""

import pytest

from resilience import CircuitBreaker, ConfigError, Registry, command
from resilience.testing import ManualClock

OPEN = {"state": "open", "remaining": 3.0}


def guarded(registry, key):
    return command(key=key, registry=registry, timeout=None, breaker=CircuitBreaker(consecutive=1))(lambda: None).resilience


@pytest.mark.parametrize("broken", [{"state": "ajar"}, {}, 3, None, {**OPEN, "since": 1.0}], ids=str)
def test_a_broken_entry_is_told_at_once_and_restores_nothing(broken):
    registry = Registry(clock=ManualClock())
    first = guarded(registry, "first")
    with pytest.raises(ConfigError, match=r"^later: saved must be what save\(\) returns"):
        registry.restore({"first": OPEN, "later": broken})
    assert ["closed", "closed"] == [first.state, guarded(registry, "later").state]
    registry.restore({"first": OPEN, "much later": OPEN})
    assert ["open", "open"] == [first.state, guarded(registry, "much later").state]
