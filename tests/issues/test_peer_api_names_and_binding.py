"""Defects of other decorators in naming, binding and pickling; each test names the peer."""

import asyncio
import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import resilience
from resilience import Registry, bulkhead, circuit_breaker, command, default_registry

HERE = Registry()


class Client:
    """Of this module, so that it pickles."""

    def __init__(self, n):
        self.n = n

    @command(registry=HERE, timeout=None)
    def read(self):
        return self.n


def module(name):
    namespace = {"__name__": name, "command": command, "registry": HERE}
    exec("@command(registry=registry, timeout=None)\ndef get(): ...", namespace)
    return namespace["get"]


def test_circuitbreaker_44_and_56_functions_of_one_name_in_two_modules_are_two_commands():
    """Its monitor is keyed by the bare name."""
    assert ["one.get", "two.get"] == [module(name).resilience.key for name in ("one", "two")]


def test_circuitbreaker_66_a_command_says_what_it_is():
    assert "<command 'three.get' closed, 0 of 10 in flight>" == repr(module("three").resilience)


def test_pybreaker_88_registries_do_not_share_state_by_accident():
    """Without a namespace, its breakers on one Redis shared their state."""
    calls = [circuit_breaker(key="k", registry=Registry())(len) for _ in range(2)]
    calls[0].resilience.force_open()

    assert ["forced_open", "closed"] == [call.resilience.state for call in calls]


@pytest.mark.parametrize("decorator", [command(timeout=None), circuit_breaker(), bulkhead(3)])
def test_interlock_a_decorator_may_stand_above_classmethod_and_staticmethod(decorator):
    """TypeError there."""
    class Shop:
        @decorator
        @classmethod
        def name(cls):
            return cls.__name__

        @decorator
        @staticmethod
        def twice(n):
            return 2 * n

    class Branch(Shop):
        pass

    try:
        assert ("Shop", "Branch", 4) == (Shop.name(), Branch().name(), Branch.twice(2))
        for method in (Shop.name, Branch.name, Branch.twice):  # a subclass has commands of its own
            assert 1 == method.resilience.snapshot().counts["success"]
    finally:
        for method in (Shop.name, Shop.twice, Branch.name, Branch.twice):
            default_registry.remove(method.resilience.key)


def test_tenacity_147_and_429_what_has_guarded_methods_pickles():
    """Its wrappers held a lock."""
    client = pickle.loads(pickle.dumps(Client(3)))

    assert 3 == client.read() == pickle.loads(pickle.dumps(client.read))()
    assert Client.read is pickle.loads(pickle.dumps(Client.read))


def test_circuitbreaker_nothing_deprecated_is_asked():
    """It imports asyncio.iscoroutinefunction, which Python 3.14 deprecates."""
    package = Path(resilience.__file__).parent

    assert [] == [path for path in package.rglob("*.py") if "asyncio.iscoroutinefunction" in path.read_text("utf-8")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        command(key="warned", registry=HERE)(asyncio.sleep)


def test_interlock_a_decorated_coroutine_function_makes_coroutines(registry):
    """It was typed Awaitable, which asyncio.create_task does not take; see tests/typing too."""
    @command(registry=registry)
    async def call():
        return 1

    coroutine = call()
    assert inspect.iscoroutine(coroutine)
    assert 1 == asyncio.run(coroutine)


def test_importing_and_decorating_start_no_thread():
    """interlock starts one for each call with a timeout; a server that forks later must find none."""
    program = ("import threading, resilience\n"
               "@resilience.command(timeout=1.0)\ndef f(): ...\n"
               "raise SystemExit(threading.active_count() - 1)")

    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
