"""Registries that keep their list in a store together, in virtual time: whatever becomes of it, they come to have the same."""

import asyncio
import json
import logging
import random

import pytest

from tests.discovery.registry.memory_records import Records
from tests.discovery.registry.plain_registry import instance
from tests.discovery.registry.three_registries import Net, Program, end, on_virtual_time, three
from tests.seeds import over_seeds

SHOP_A = ("SHOP", "a")
#: Longest time to be the same again: the store is found, read, written, and read by the others.
SETTLED_S = 10.0


@pytest.fixture(autouse=True)
def quiet_log(caplog):
    """Circuits that open and close fill a log that nobody reads here."""
    caplog.set_level(logging.CRITICAL, logger="resilience")


def sharing(random_, net=None, *, has_peers=False, wait_s=0.0, **settings):
    """Three registries with a store; they know each other only if they have peers, too."""
    net = three(random_, net, **settings)
    net.store = Records(random_)
    for node in net.nodes.values():
        begin(net, node, has_peers=has_peers, wait_s=wait_s)
    return net


def begin(net, node, *, has_peers=False, wait_s=0.0):
    node.start([name for name in net.nodes if has_peers and name != node.name], wait_s, net.store)


def registers(node, identity="a", **more):
    node.registry.register(instance("SHOP", identity, **{"dirty_ms": node.now().unix_ms, **more}), "10.0.0.9", node.now())


def assert_same(net):
    tables = [node.table() for node in net.nodes.values()]
    assert tables[0] == tables[1] == tables[2]


def assert_stored(net):
    """What the store has is what the registries have."""
    live = net.store.live(asyncio.get_running_loop().time())
    assert {tuple(json.loads(name)) for name, each in live.items() if not json.loads(each["copy"])["left"]} \
        == set(net.nodes["A"].table())


def trouble(random_, net, programs):
    """One thing that goes wrong, or that somebody does."""
    node, program = random_.choice([each for each in net.nodes.values() if each.registry is not None]), random_.choice(programs)
    kind = random_.choices(
        ("start", "leave", "crash", "override", "remove", "metadata", "wipe", "lost", "there", "loss", "cut", "older", "save"),
        (6, 4, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 2))[0]
    store = net.store
    if kind == "start" and not program.is_up:
        program.start()
    elif kind in ("leave", "crash") and program.is_up:
        getattr(program, kind)()
    elif kind == "override":
        node.registry.override(*program.key, random_.choice(("OUT_OF_SERVICE", "DOWN", "UP")), 0, node.now())
    elif kind == "remove":
        node.registry.remove_override(*program.key, random_.choice(("UNKNOWN", "UP")), 0, node.now())
    elif kind == "metadata":
        node.registry.update_metadata(*program.key, {random_.choice("xy"): str(node.now().s)}, node.now())
    elif kind == "wipe":
        store.wipe()
    elif kind == "lost":
        store.is_there = False
    elif kind == "there":
        heal(net)
    elif kind == "loss":
        store.loss = random_.choice((0.0, 0.1, 0.4))
    elif kind == "cut":
        random_.choice(store.views).is_cut = True
    elif kind == "save":
        net.saved = store.state()
    elif kind == "older" and net.saved is not None:
        store.fail_over_to(net.saved)
        net.saved = None


def heal(net):
    net.store.is_there, net.store.loss = True, 0.0
    for view in net.store.views:
        view.is_cut = False


async def history(seed):
    random_ = random.Random(seed)
    has_peers = random_.random() < 0.3
    net = sharing(random_, Net(random_, loss=0.1, repeat=0.2), has_peers=has_peers, most_queued=random_.choice((5, 1000)))
    net.saved, net.store.delay_s = None, random_.choice((0.01, 0.3))
    for node in net.nodes.values():
        node.skew_s = random_.choice((0.0, 0.0, 0.3, -1.0))
    programs = [Program(f"i{number}", net, random_, skew_s=random_.choice((0.0, 0.0, -7200.0, 7200.0)))
                for number in range(12)]
    for _ in range(100):
        trouble(random_, net, programs)
        if random_.random() < 0.03:
            victim = net.nodes[random_.choice("ABC")]
            await victim.stop()
            await asyncio.sleep(random_.uniform(0.0, 20.0))
            begin(net, victim, has_peers=has_peers)
        await asyncio.sleep(random_.choice((0.0, 0.3, 1.0, 5.0)))
        assert all(len(node.peers.storage.queue) <= node.terms.most_queued for node in net.nodes.values())
    heal(net)
    net.heal()
    await asyncio.sleep(120.0)  # what has crashed runs out
    assert_same(net)
    assert {each.key for each in programs if each.is_up} == set(net.nodes["A"].table())
    assert_stored(net)
    for each in programs:
        if each.is_up:
            each.crash()
    await end(net)


@over_seeds(8)
def test_registries_with_a_store_have_the_same_and_nothing_that_left_whatever_became_of_the_store(seed):
    on_virtual_time(history, seed)
