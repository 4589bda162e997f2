"""What becomes of a user's machine: live changes, switching off, forks, tests, notebooks, pickles, mistakes."""

import inspect
import subprocess
import sys
import threading

import attrs
import cloudpickle
import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    ConfigError,
    Pipeline,
    Registry,
    RejectedError,
    command,
    custom_policy,
    explain,
)
from resilience.config.commands import GuardTable
from resilience.policies import order
from resilience.policies.custom import RESERVED
from resilience.policies.settings import Settings
from resilience.testing import ManualClock, disabled, restored
from tests.forked import forked


class Refused(RejectedError):
    reason = "no room"


class Room:
    """A machine without any method that may be missing: so many calls in flight."""

    def __init__(self, policy, key):
        self.policy, self.key, self.inside = policy, key, 0

    def acquire(self, now, call):
        if self.inside >= self.policy.size:
            raise Refused(self.key)
        self.inside += 1

    def settle(self, permit, outcome, started, now):
        self.inside -= 1

    def gauges(self):
        return {"inside": self.inside}


@pytest.fixture(autouse=True)
def _forgotten():
    known = {kit.name for kit in order.kits()}
    yield
    for kit in order.kits():
        if kit.name not in known:
            order.discard(kit.name)


def policy_of(machine=Room, name="room"):
    @custom_policy(name, about="Lets so many calls in.")
    @attrs.frozen
    class Size:
        size: int = 1

        def machine(self, key, now):
            return machine(self, key)

    return Size


def guarded(*policies, work=lambda do=None: do and do(), **options):
    return Pipeline(*policies, key="work", registry=Registry(clock=ManualClock()), **options)(work)


def machine_of(fn, name="room"):
    return fn.resilience._runtime.named(name).machine


def test_a_call_under_way_settles_with_the_machine_that_admitted_it_though_another_took_its_place():
    Size = policy_of()
    fn = guarded(Size(1))
    first = machine_of(fn)
    fn(lambda: fn.resilience.configure(room=Size(2)))

    assert machine_of(fn) is not first
    assert (0, 0) == (first.inside, machine_of(fn).inside)


def test_a_machine_that_can_be_configured_stays():
    class Lasting(Room):
        def configure(self, policy, now):
            self.policy = policy

    Size = policy_of(Lasting)
    fn = guarded(Size(1))
    first = machine_of(fn)
    with pytest.raises(Refused):
        fn(fn)
    fn(lambda: fn.resilience.configure(room=Size(2)))
    fn(fn)
    assert machine_of(fn) is first


def test_it_can_be_switched_off_and_on_while_calls_go_on():
    Size = policy_of()
    fn = guarded(Size(1))
    fn(lambda: (fn.resilience.configure(room=None), fn(fn)))
    assert fn.resilience.settings.room is None
    assert {} == fn.resilience.snapshot().gauges
    fn.resilience.configure(room=Size(1))
    with pytest.raises(Refused):
        fn(fn)
    assert 0 == machine_of(fn).inside


def test_disabled_lets_every_call_pass_and_afterwards_it_refuses_again():
    fn = guarded(policy_of()(1))
    with disabled(fn):
        fn(fn)
    with pytest.raises(Refused):
        fn(fn)


def test_restored_leaves_nothing_of_what_the_machine_has_learnt():
    class Spent(Room):
        def settle(self, permit, outcome, started, now):
            pass

    registry = Registry(clock=ManualClock())
    fn = Pipeline(policy_of(Spent)(1), key="work", registry=registry)(lambda: 7)
    with restored(registry):
        fn()
    assert 7 == fn()


def test_the_child_of_a_fork_begins_with_a_machine_and_a_lock_of_its_own():
    class Locked(Room):
        def __init__(self, policy, key):
            super().__init__(policy, key)
            self.lock = threading.Lock()

        def acquire(self, now, call):
            if not self.lock.acquire(blocking=False):
                raise AssertionError("the lock was held when the process forked")
            self.lock.release()

        def settle(self, permit, outcome, started, now):
            pass

    fn = guarded(policy_of(Locked)(1))
    with machine_of(fn).lock:
        assert 0 == forked(fn)


def test_a_hook_that_raises_is_logged_and_the_settings_in_force_are_those_that_count(caplog):
    class Broken(Room):
        def configure(self, policy, now):
            raise ValueError("oops")

    Size = policy_of(Broken)
    fn = guarded(Size(1))
    fn.resilience.configure(room=Size(2))
    fn(fn)
    assert ["work: configure() of the policy room raised; a new machine takes its place"] == caplog.messages


def test_gauges_that_raise_or_are_no_finite_numbers_spoil_no_snapshot(caplog):
    class Odd(Room):
        def gauges(self):
            if self.inside:
                raise ValueError("oops")
            return {"none": None, "nan": float("nan"), "yes": True, "half": 0.5}

    fn = guarded(policy_of(Odd)(1))
    assert {"room.yes": 1, "room.half": 0.5} == fn.resilience.snapshot().gauges
    assert type(fn.resilience.snapshot().gauges["room.yes"]) is int
    for _ in range(2):
        fn(lambda: fn.resilience.snapshot())
    assert 1 == len(caplog.records)


def test_a_class_that_a_notebook_defines_anew_reaches_the_functions_that_hold_the_old_one():
    old = policy_of()
    fn = guarded(CircuitBreaker(), old(1), Bulkhead(5))
    machine = machine_of(fn)
    new = policy_of()
    assert "room.size" in str(explain(fn))
    fn.resilience.configure(room=old(2))
    fn(fn)
    fn.resilience.configure(room=new(3))
    fn(lambda: fn(fn))
    assert new(3) == fn.resilience.settings.room
    assert machine_of(fn) is not machine
    guarded(CircuitBreaker(), old(1), Bulkhead(5))()


def test_a_class_of_main_goes_with_its_function_to_a_process_that_has_never_seen_it(tmp_path):
    script, file = tmp_path / "main.py", tmp_path / "fn.pickle"
    script.write_text(f"""
import attrs, cloudpickle
from resilience import Pipeline, RejectedError, custom_policy

class Cap:
    def __init__(self, policy): self.left = policy.size
    def acquire(self, now, call):
        if not self.left: raise RejectedError("work")
        self.left -= 1
    def settle(self, permit, outcome, started, now): pass

@custom_policy("room", about="Lets so many calls in.")
@attrs.frozen
class Size:
    size: int = 1
    def machine(self, key, now): return Cap(self)

@Pipeline(Size(1), key="work")
def work(): return 7

open({str(file)!r}, "wb").write(cloudpickle.dumps(work))
""")
    subprocess.run([sys.executable, str(script)], check=True)
    work = cloudpickle.loads(file.read_bytes())
    assert 7 == work()
    with pytest.raises(RejectedError):
        work()
    assert 1 == work.resilience.snapshot().counts["room_rejected"]


@pytest.mark.parametrize("name", [
    "Ünï", "_x", "Room", "class", "a-b", "", "shadow", "more", "pool", "isolation", "has_fallback",
    "key", "semaphore", "thread_pool"])
def test_a_name_that_means_something_else_is_refused(name):
    with pytest.raises(ConfigError, match="name"):
        policy_of(name=name)


def test_every_word_of_decorators_and_files_is_reserved():
    words = {*inspect.signature(command).parameters, *(field.name for field in attrs.fields(GuardTable))} - {"fn"}
    taken = {kit.name for kit in order.kits()} | {field.name for field in attrs.fields(Settings)} | RESERVED
    assert set() == words - taken


def test_values_and_machines_that_cannot_work_are_refused_when_they_are_made():
    with pytest.raises(TypeError, match="must be frozen"):
        @custom_policy("room", about="")
        @attrs.define
        class Changing:
            def machine(self, key, now): ...

    with pytest.raises(TypeError, match="need public names"):
        @custom_policy("room", about="")
        @attrs.frozen
        class Private:
            _size: int = 1

            def machine(self, key, now): ...

    class Waiting(Room):
        async def acquire(self, now, call): ...

    with pytest.raises(TypeError, match="must return an object with the methods acquire and settle, not None"):
        guarded(policy_of(lambda policy, key: None)())
    with pytest.raises(TypeError, match="must be a plain method that decides at once"):
        guarded(policy_of(Waiting)())


def test_annotations_that_only_type_checkers_can_read_do_not_spoil_the_files_of_others():
    @custom_policy("room", about="Lets so many calls in.")
    @attrs.frozen
    class Size:
        size: "Nowhere" = 1  # noqa: F821

        def machine(self, key, now):
            return Room(self, key)

    fn = guarded(Size())
    assert "Size >" in str(explain(fn))
