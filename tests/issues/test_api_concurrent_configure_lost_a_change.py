"""Two threads that configured different settings at once: the later write undid the earlier one."""

import threading

from resilience import command
from resilience.commands import internals


def test_changes_of_different_settings_at_once_are_both_kept(registry, monkeypatch):
    call = command(key="k", registry=registry, timeout=1.0)(len)
    other = threading.Thread(target=lambda: call.resilience.configure(max_concurrent=3))

    settings_with = internals.settings_with

    def change(settings, **changes):
        if other.ident is None:  # between reading what is in force and writing what shall be
            other.start()
            other.join(0.05)
        return settings_with(settings, **changes)

    monkeypatch.setattr(internals, "settings_with", change)
    call.resilience.configure(timeout=0.5)
    other.join(10)

    assert (0.5, 3) == (call.resilience.settings.timeout, call.resilience.settings.max_concurrent)
    assert 3 == call.resilience.snapshot().max_concurrent
