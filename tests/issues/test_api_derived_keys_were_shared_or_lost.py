"""Derived keys met threads, signal handlers, stacks whose lower command was removed, and decorations that failed."""

import functools
import sys
import threading

import attrs
import pytest

from resilience import (
    CircuitBreaker,
    ConfigError,
    Pipeline,
    Registry,
    bulkhead,
    circuit_breaker,
    command,
    custom_policy,
    timeout,
)
from resilience.commands.command import internals_of
from resilience.engine.callables import wrap_like
from resilience.registry import table_of


def made(registry, **said):
    @command(registry=registry, timeout=None, **said)
    def call():
        return 1

    return call


def numbers(registry):
    derived = table_of(registry)._derived
    return derived._most, derived._free


def test_threads_that_decorate_at_once_get_commands_of_their_own(registry, monkeypatch):
    both, calls = threading.Barrier(2), []

    def slow(guarded, fn):  # a thread that is between a command and its function; the other one is let in, if it may
        try:
            both.wait(0.2)
        except threading.BrokenBarrierError:
            pass
        return wrap_like(guarded, fn)

    monkeypatch.setattr("resilience.decorate.entry.wrap_like", slow)
    threads = [threading.Thread(target=lambda: calls.append(made(registry))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 2 == len({call.resilience for call in calls}) == len(registry)


def test_many_threads_that_make_and_drop_functions(registry):
    interval, kept = sys.getswitchinterval(), []

    def work():
        mine = []
        for turn in range(60):
            mine.append(made(registry))
            if turn % 3 == 0:
                del mine[0]
        kept.extend(mine)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert len(kept) == len({call.resilience.key for call in kept}) == len(registry)
    assert all(registry[call.resilience.key] is call.resilience for call in kept)
    kept.clear()
    assert [] == list(registry)
    assert ({}, {}) == numbers(registry)


def test_a_signal_handler_that_decorates_while_its_thread_does():
    nested = []

    def clock():  # it is read between the look for a command and its entry
        if not nested:
            nested.append(None)
            nested[0] = made(registry)
        return 0.0

    registry = Registry(clock=clock)
    call = made(registry)

    assert call.resilience is not nested[0].resilience
    assert {call.resilience, nested[0].resilience} == set(registry)


def test_a_stack_whose_lower_command_was_removed_has_a_key_that_can_go_again(registry):
    def stack():
        return timeout(0.5, registry=registry)(lambda: 1)

    first, lower = stack(), stack()
    registry.remove(lower.resilience.key)
    upper = circuit_breaker(registry=registry)(lower)

    assert first.resilience is not upper.resilience
    assert registry.remove(upper.resilience.key)
    assert stack().resilience is not first.resilience


def test_decorations_that_fail_use_no_numbers_up(registry):
    kept = made(registry)
    for _ in range(3):
        with pytest.raises(ConfigError):
            made(registry, fallback=wants_awaiting)

    assert [kept.resilience] == list(registry)
    assert ({}, {}) == numbers(registry)


async def wants_awaiting():
    return 0


def test_a_wrapper_that_cannot_be_made_leaves_no_command(registry, monkeypatch):
    def broken(guarded, fn):
        raise RuntimeError("no wrapper")

    with monkeypatch.context() as patch:
        patch.setattr("resilience.decorate.entry.wrap_like", broken)
        with pytest.raises(RuntimeError, match="no wrapper"):
            made(registry)

    assert [] == list(registry)


@custom_policy("moody", about="A policy whose machine cannot always be made.")
@attrs.frozen
class Moody:
    works: list = attrs.field(factory=list)

    def machine(self, key, now):
        if not self.works:
            raise OSError("no machine")
        return self

    def acquire(self, now, call):
        return None

    def settle(self, permit, outcome, started, now):
        pass


def test_a_policy_whose_machine_cannot_be_made_changes_nothing_of_a_shared_command(registry):
    first = Pipeline(CircuitBreaker(), key="k", registry=registry)(lambda: 1)
    before = first.resilience.settings, internals_of(first.resilience).stated
    with pytest.raises(OSError, match="no machine"):
        Pipeline(Moody(), key="k", registry=registry)(lambda: 2)

    assert before == (first.resilience.settings, internals_of(first.resilience).stated)
    works = [True]
    second = Pipeline(Moody(works), key="k", registry=registry)(lambda: 2)
    assert (1, 2) == (first(), second())
    assert Moody(works) == second.resilience.settings.moody


def test_what_singledispatch_registers_under_no_name_is_not_one_function_defined_again(registry):
    source = """
import functools

@functools.singledispatch
def show(value): ...

@show.register
@command(registry=registry, timeout=None)
def _(value: int): return "int"

@show.register
@command(registry=registry, timeout=None)
def _(value: str): return "str"
"""
    cell = {"__name__": "module", "command": command, "registry": registry}
    exec(source, cell)

    assert cell["show"].registry[int].resilience is not cell["show"].registry[str].resilience
    assert ("int", "str") == (cell["show"](1), cell["show"](""))


def test_a_notebooks_cell_run_anew_keeps_its_command_however_often(registry):
    cell = {"__name__": "module", "command": command, "registry": registry, "held": []}
    for seconds in (1.0, 2.0, 3.0):
        exec(f"@command(registry=registry, timeout={seconds})\ndef call(): ...\nheld.append(call)", cell)

    assert ["module.call"] == [handle.key for handle in registry]
    assert 3.0 == registry["module.call"].settings.timeout
    functools.reduce(lambda _, each: each(), cell["held"], None)


def test_a_stack_with_a_foreign_decorator_in_it_is_one_command_each_time_it_is_made(registry):
    def foreign(call):
        @functools.wraps(call)
        def around():
            return call()

        return around

    def stack():
        return bulkhead(3, registry=registry)(foreign(circuit_breaker(registry=registry)(lambda: 1)))

    first, second, third = stacks = stack(), stack(), stack()

    assert 3 == len(registry) == len({each.resilience for each in stacks})
    assert all(2 == len(internals_of(handle).functions) for handle in registry)
    assert (1, 1, 1) == (first(), second(), third())
