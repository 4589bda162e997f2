"""A child forked while another thread was in configure() had guards in place that its configuration did not know of.

It could neither guard the target ("is guarded already, by a decorator") nor take the guard off. And when a listener
forked in the middle of configure(), the child's configure() ended in RuntimeError.
"""

import os
import sys
import threading
import types
import warnings

import pytest

from resilience import command
from resilience.config import configure
from resilience.config.patches import Patch
from resilience.core.events import CommandConfigured
from tests.forked import forked


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("vendor_forked")
    made.f, made.g = lambda: "f", lambda: "g"
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def guards(*names):
    return {"guards": {f"vendor_forked:{name}": {"timeout": False} for name in names}}


@pytest.mark.parametrize("step", ["commit", "undo"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_child_forked_while_guards_change_can_configure_them(registry, module, monkeypatch, step, when):
    raw = module.f, module.g
    configure(guards("g"), registry=registry, environ={})
    reached, go_on, real = threading.Event(), threading.Event(), getattr(Patch, step)
    parent = os.getpid()

    def stopped(patch):
        if os.getpid() != parent:
            return real(patch)
        if when == "after":
            real(patch)
        reached.set()
        go_on.wait(10)
        return real(patch)

    def configured_anew():
        monkeypatch.setattr(Patch, step, real)
        configuration = configure(guards("f", "g"), registry=registry, environ={})
        guarded = [each.resilience.key for each in (module.f, module.g)] == ["vendor_forked:f", "vendor_forked:g"]
        configuration.close()
        assert guarded
        assert raw == (module.f, module.g)

    monkeypatch.setattr(Patch, step, stopped)
    other = threading.Thread(target=configure, args=(guards("f"),), kwargs={"registry": registry, "environ": {}})
    other.start()
    assert reached.wait(10)
    status = forked(configured_anew)
    go_on.set()
    other.join(10)
    assert 0 == status


def test_a_listener_may_fork_in_the_middle(registry):
    call, statuses = command(key="k", registry=registry, timeout=1.0)(len), []
    parent = os.getpid()

    def fork(event):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            statuses.append(os.fork())

    registry.subscribe(CommandConfigured, fork)
    try:
        configure({"defaults": {"timeout": 3.0}}, registry=registry, environ={})
        status = 0 if call.resilience.settings.timeout == 3.0 else 1
    except Exception:  # noqa: BLE001 - a forked test must not go on as a second test run
        status = 2
    finally:
        if os.getpid() != parent:
            os._exit(status)
    assert [0] == [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in statuses]
