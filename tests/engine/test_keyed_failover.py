"""A failover of a function whose key is a callable: a command for each pair of key and target, in every flavour."""

import asyncio
import copy
import gc
import pickle

import pytest

from resilience import (
    Bulkhead,
    Cache,
    CircuitBreaker,
    ConfigError,
    Failover,
    Hedge,
    Pipeline,
    Registry,
    Retry,
    State,
    command,
    configure,
    explain,
)
from resilience.events import CommandAdded, CommandRemoved
from resilience.testing import ManualClock, restored
from tests.engine.failover_rig import FLAVOURS, ONE_ANSWER, Rig
from tests.interrupts import interrupted

REGIONS = Failover(("eu", "us"), argument="region")


def host_of(path="/"):
    return f"shop {path}"


@pytest.fixture(params=FLAVOURS)
def flavour(request):
    return request.param


def keyed(flavour, **settings):
    return Rig(flavour, **{"key": host_of, "group": "shops", **settings})


def keys(rig):
    return [handle.key for handle in rig.fn.resilience]


def test_each_pair_of_key_and_target_is_a_command_made_at_the_keys_first_call(flavour):
    rig = keyed(flavour)
    assert keys(rig) == []
    assert [rig.call("a"), rig.call("b")] == ["good", "good"]

    assert keys(rig) == ["shop a[eu]", "shop a[us]", "shop b[eu]", "shop b[us]"]
    assert [handle.key for handle in rig.registry] == keys(rig)
    assert [rig.fn.resilience[key].snapshot().counts["success"] for key in keys(rig)] == [1, 0, 1, 0]
    assert sorted(rig.fn.resilience.snapshot()) == keys(rig)
    assert {handle.group for handle in rig.registry} == {"shops"}


def test_a_target_that_is_down_for_one_key_is_asked_for_the_others(flavour):
    rig = keyed(flavour, say={"grace": 30.0})
    rig.answers["eu"] = ConnectionError("eu")
    assert [rig.call("a") for _ in range(3)] == ["good"] * 3
    assert rig.took() == ["eu", "us", "eu", "us", "us"]
    assert rig.fn.resilience["shop a[eu]"].state is State.OPEN
    rig.answers["eu"] = "good"

    assert [rig.call("a"), rig.call("b")] == ["good", "good"]
    assert rig.took() == ["us", "eu"]
    rig.clock.advance(30.0)
    rig.call("a")
    assert rig.took() == ["eu"], "the probe of this key"
    rig.assert_idle()


def test_what_stands_above_the_targets_is_one_more_command_of_each_key(flavour):
    rig = keyed(flavour, fallback=lambda path, region="nowhere": iter([path]) if flavour == "generator" else path) \
        if flavour in ("sync", "thread", "generator") else keyed(flavour, retry=Retry(attempts=2, base=0.01))
    rig.call("a")

    assert keys(rig) == ["shop a", "shop a[eu]", "shop a[us]"]
    assert rig.fn.resilience["shop a"].snapshot().counts["success"] == 1
    assert len(rig.fn.resilience) == 3


def test_a_file_speaks_of_all_pairs_of_one_target_of_one_key_and_of_one_pair(flavour):
    rig = keyed(flavour)
    rig.call("a")
    name = rig.fn.resilience.key
    configuration = configure({"commands": {
        name: {"max_concurrent": 2, "failover": {"grace": 7.0}}, f"{name}[us]": {"max_concurrent": 3},
        "shop b": {"max_concurrent": 4}, "shop b[us]": {"max_concurrent": 5}, "shop c[eu]": {"max_concurrent": 6},
    }}, registry=rig.registry, environ={})
    rig.call("b")

    assert configuration.mistakes == ()
    assert configuration.unused == ("commands.shop c[eu]",)
    assert {handle.key: handle.settings.max_concurrent for handle in rig.fn.resilience} == {
        "shop a[eu]": 2, "shop a[us]": 3, "shop b[eu]": 4, "shop b[us]": 5}
    assert {handle.settings.failover.grace for handle in rig.fn.resilience} == {7.0}
    configuration.close()
    assert {handle.settings.max_concurrent for handle in rig.fn.resilience} == {10}


def test_reset_and_force_open_of_one_pair_concern_no_other(flavour):
    rig = keyed(flavour)
    rig.answers["eu"] = ConnectionError("eu")
    for path in "aabb":
        rig.call(path)
    rig.answers["eu"] = "good"
    rig.took()
    rig.fn.resilience["shop a[eu]"].reset()
    rig.call("a")
    rig.call("b")
    assert rig.took() == ["eu", "us"]

    rig.fn.resilience["shop a[eu]"].force_open()
    rig.call("a")
    assert rig.took() == ["us"]


def test_what_the_handle_says_of_all_holds_for_keys_to_come(flavour):
    rig = keyed(flavour, retry=Retry(attempts=2, base=0.01)) if flavour in ONE_ANSWER else keyed(flavour)
    rig.call("a")
    rig.fn.resilience.configure(max_concurrent=3)
    rig.fn.resilience.force_open()
    with pytest.raises(Exception, match="open"):
        rig.call("b")
    pairs = [handle for handle in rig.fn.resilience if handle.settings.failover]
    assert [(handle.state, handle.settings.max_concurrent) for handle in pairs] == [(State.FORCED_OPEN, 3)] * 4
    rig.fn.resilience.release()

    assert [rig.call("a"), rig.call("b")] == ["good", "good"]
    rig.fn.resilience.reset()
    with pytest.raises(ConfigError, match="targets"):
        rig.fn.resilience.configure(failover=Failover(("eu", "asia"), argument="region"))


def test_the_commands_of_an_idle_key_go_together_and_come_back_together(flavour):
    rig = keyed(flavour, idle=60.0, retry=Retry(attempts=2, base=0.01))
    seen = []
    for kind in (CommandAdded, CommandRemoved):
        rig.registry.subscribe(kind, lambda event: seen.append((type(event).__name__[7:], event.key)))
    names = ["shop a", "shop a[eu]", "shop a[us]"]
    for _ in range(2):
        rig.call("a")
        rig.clock.advance(60.0)
        assert list(rig.registry) == []

    assert seen == [(what, name) for what in ("Added", "Removed") * 2 for name in names]


def test_a_key_stays_while_one_of_its_targets_is_known_to_be_down(flavour):
    rig = keyed(flavour, idle=10.0, max_keys=1, breaker=None, say={"grace": 100.0})
    rig.answers["eu"] = ConnectionError("eu")
    rig.call("a")
    rig.clock.advance(50.0)
    rig.call("b")
    assert "shop a[eu]" in rig.fn.resilience
    assert f"{rig.fn.resilience.overflow}[us]" in rig.fn.resilience
    rig.took()
    rig.call("a")
    assert rig.took() == ["us"]
    rig.clock.advance(150.0)
    assert list(rig.registry) == []


def test_the_key_that_was_not_called_for_longest_makes_room_with_all_of_its_targets(flavour):
    rig = keyed(flavour, max_keys=2)
    for path in "abc":
        rig.call(path)
        rig.clock.advance(1.0)

    assert keys(rig) == ["shop b[eu]", "shop b[us]", "shop c[eu]", "shop c[us]"]


def test_keys_without_room_share_the_targets_of_the_overflow_but_no_kept_answers():
    rig = keyed("sync", max_keys=1, cache=Cache(ttl=100.0))
    rig.fn("a")
    rig.fn.resilience["shop a[us]"].force_open()  # so that it stays
    rig.answers["eu"] = "of b"
    assert rig.fn("b") == "of b"
    rig.answers["eu"] = "of c"

    assert [rig.fn("b"), rig.fn("c"), rig.fn("a")] == ["of b", "of c", "good"]
    name = rig.fn.resilience.overflow
    assert [key for key in keys(rig) if "overflow" in key] == [name, f"{name}[eu]", f"{name}[us]"]


def test_a_pair_that_is_removed_from_its_registry_takes_its_key_along_which_begins_anew(flavour):
    rig = keyed(flavour)
    rig.call("a")
    rig.call("b")
    gone = []
    rig.registry.subscribe(CommandRemoved, lambda event: gone.append(event.key))
    assert rig.registry.remove("shop a[us]")
    assert sorted(gone) == ["shop a[eu]", "shop a[us]"]
    assert keys(rig) == ["shop b[eu]", "shop b[us]"]

    assert rig.call("a") == "good"
    assert rig.fn.resilience["shop a[eu]"].snapshot().counts["success"] == 1
    rig.fn.resilience.clear()
    assert list(rig.registry) == []


def test_an_unknown_pair_is_a_key_error(flavour):
    rig = keyed(flavour)
    rig.call("a")
    for unknown in ("shop a", "eu", "shop z[eu]"):
        assert unknown not in rig.fn.resilience
        assert rig.fn.resilience.get(unknown) is None
        with pytest.raises(KeyError, match="shop a|eu"):
            rig.fn.resilience[unknown]


def test_explain_tells_of_all_keys_and_of_one_pair(flavour):
    rig = keyed(flavour, say={"max_wait": 0.0})
    rig.call("a")
    told = explain(rig.fn)
    assert told.keys == (1, 1000)
    assert told.chains[0].policies[0] == "Failover (eu, us)"
    assert told.chains[0].worst_case.attempts == 2
    assert explain("shop a[us]", registry=rig.registry).chains[0].policies[0] == "Failover (eu, us)"


def test_the_name_of_the_target_is_not_for_callers_of_a_keyed_function_to_give(flavour):
    rig = Rig(flavour, key=lambda path="/", **_: path)
    with pytest.raises(TypeError, match="'region', which its failover gives"):
        rig.call("a", region="us")
    rig.assert_idle()


def test_two_functions_that_return_the_same_key_share_the_commands_of_its_targets(flavour):
    rig = keyed(flavour)
    other = keyed(flavour, registry=rig.registry, clock=rig.clock)
    rig.answers["eu"] = ConnectionError("eu")
    rig.call("a")
    rig.call("a")

    assert other.call("a") == "good"
    assert other.took() == ["us"]
    assert len(list(rig.registry)) == 2
    rig.fn.resilience.clear()
    assert len(list(rig.registry)) == 2, "the other one has them still"
    other.fn.resilience.clear()
    assert list(rig.registry) == []


def test_a_pair_that_another_function_says_otherwise_is_a_mistake_at_the_call_and_leaves_no_other_pair(registry):
    @command(key="shop a[us]", group="shops", timeout=None, max_concurrent=3, registry=registry)
    def other():
        return 1

    rig = keyed("sync", registry=registry)
    for _ in range(2):
        with pytest.raises(ConfigError, match="already has"):
            rig.fn("a")
        assert [handle.key for handle in registry] == ["shop a[us]"]
    assert rig.fn("b") == "good"


def test_functions_with_one_key_and_keyed_ones_meet_at_the_same_pairs(registry):
    rig = keyed("sync", registry=registry)
    rig.fn("a")
    fixed = Rig("sync", key="shop a", group="shops", registry=registry)

    assert fixed.fn.resilience["eu"] is rig.fn.resilience["shop a[eu]"]


def test_a_method_of_a_client_may_go_by_its_host_and_fail_over(registry):
    class Client:
        def __init__(self, host):
            self.host = host

        @command(key=lambda self, path: self.host, timeout=None, failover=REGIONS, registry=registry)
        def fetch(self, path, *, region="eu"):
            if region == "eu" and self.host == "a":
                raise ConnectionError
            return self.host, path, region

    assert [Client(host).fetch("/") for host in "ab"] == [("a", "/", "us"), ("b", "/", "eu")]


def test_a_pipeline_and_a_stack_may_have_a_key_and_a_failover(registry):
    pipeline = Pipeline(Retry(attempts=2), REGIONS, CircuitBreaker(), Bulkhead(3), key=host_of, registry=registry)

    @pipeline
    def fetch(path, *, region="eu"):
        return region

    assert fetch("a") == pipeline.call(fetch.__wrapped__, "a") == "eu"
    assert [handle.key for handle in fetch.resilience] == ["shop a", "shop a[eu]", "shop a[us]"]


def test_a_hedge_of_a_keyed_function_goes_to_another_target_of_the_same_key():
    clock, asked = ManualClock(), []
    registry = Registry(clock=clock)

    @command(key=host_of, failover=REGIONS, hedge=Hedge(delay=0.5, idempotent=True), registry=registry)
    async def fetch(path, *, region="eu"):
        asked.append((path, region))
        if region == "eu":
            await asyncio.Event().wait()
        return region

    async def main():
        call = asyncio.ensure_future(fetch("a"))
        while not asked:
            await asyncio.sleep(0)
        for _ in range(100):
            clock.advance(0.1)
            await asyncio.sleep(0)
            if call.done():
                break
        return await call

    assert asyncio.run(main()) == "us"
    assert asked == [("a", "eu"), ("a", "us")]
    assert [handle.in_flight for handle in fetch.resilience] == [0, 0, 0]


def test_an_interrupt_in_a_keys_first_call_leaves_no_pin_and_no_pair_behind(clock):
    registry = Registry(clock=clock)

    @command(key=host_of, timeout=None, failover=Failover(("eu", "us"), argument="region", grace=1.0, budget=None),
             breaker=CircuitBreaker(failure_rate=None, consecutive=1, open_for=1.0), retry=Retry(attempts=2, base=0.01),
             max_concurrent=1, max_keys=2, idle=50.0, registry=registry)
    def fetch(path, *, region="eu"):
        if region == "eu":
            raise ConnectionError
        return path

    def work():
        fetch("a")

    for point in interrupted(work, every=151):
        assert [cell for cell in fetch.resilience._keyspace.table.values() if cell.pins] == [], point
        assert {handle.in_flight for handle in fetch.resilience} <= {0}, point
        clock.advance(100.0)
        assert fetch("a") == "a"
        assert all(registry[handle.key] is handle for handle in fetch.resilience), point
        assert len(registry) == 3
        fetch.resilience.clear()
        gc.collect()  # what was struck is in cycles
        fetch("a")
        fetch.resilience.clear()
        assert list(registry) == [], point


def test_a_registry_that_is_put_back_has_no_pairs_that_came_meanwhile(registry):
    fetch = command(key=host_of, timeout=None, failover=REGIONS, retry=Retry(attempts=2, base=0.01), registry=registry)(plain)
    with restored(registry):
        fetch("a")
        assert len(registry) == 3
    assert list(registry) == []
    assert fetch("a") == "eu"


def plain(path, *, region="nowhere"):
    return region


@command(key=host_of, timeout=None, failover=REGIONS, registry=Registry())
def module_level(path, *, region="eu"):
    return region


def test_a_keyed_failover_pickles_and_copies_as_other_guarded_functions_do():
    assert pickle.loads(pickle.dumps(module_level))("a") == "eu"
    assert copy.copy(module_level)("a") == "eu"
    handles = pickle.loads(pickle.dumps(module_level.resilience))
    assert handles["shop a[eu]"].snapshot().counts["success"] == 2
