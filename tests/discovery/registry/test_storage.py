"""Registries that keep their list in a store together, in virtual time: whatever becomes of it, they come to have the same."""

import asyncio
import contextlib
import json
import logging
import random

import pytest

from resilience.discovery.registry.refusal import RefusedError
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


@over_seeds(4)
def test_registries_with_a_store_have_the_same_and_nothing_that_left_whatever_became_of_the_store(seed):
    on_virtual_time(history, seed)


def stored(net):
    """Versions of what the store has, and whether it has left."""
    live = net.store.live(asyncio.get_running_loop().time())
    found = [json.loads(each["copy"]) for each in live.values()]
    return {(each["app"], each["id"]): (each["era"], each["left"], *each["stamp"], *each["operated"]) for each in found}


def known(node):
    table = node.registry.table
    found = [(lease.key, lease) for lease in table] + table.left.items()
    return {key: (each.version.era_ms, each.version.has_left, *each.version.stamp, *each.override_stamp) for key, each in found}


async def history_without_renewals(seed):
    """Nothing is ever said twice: what is lost has to be found by comparing."""
    random_ = random.Random(seed)
    net = sharing(random_, most_queued=random_.choice((3, 1000)))
    net.store.delay_s, net.saved = random_.choice((0.01, 0.3)), None
    for _ in range(60):
        node, identity = random_.choice([*net.nodes.values()]), random_.choice("abcdef")
        act = random_.choice(("register", "register", "cancel", "override", "metadata"))
        if act == "register":
            with contextlib.suppress(RefusedError):  # it has left in this very millisecond
                registers(node, identity, duration_s=3000)
        elif act == "cancel":
            node.registry.cancel("SHOP", identity, node.now())
        elif act == "override":
            node.registry.override("SHOP", identity, random_.choice(("OUT_OF_SERVICE", "UP")), 0, node.now())
        else:
            node.registry.update_metadata("SHOP", identity, {"x": str(random_.random())}, node.now())
        fault = random_.random()
        if fault < 0.1:
            net.store.loss = random_.choice((0.0, 0.3))
        elif fault < 0.2:
            random_.choice(net.store.views).is_cut = True
        elif fault < 0.35:
            heal(net)
        elif fault < 0.45:
            net.saved = net.store.state()
        elif fault < 0.55 and net.saved is not None:
            net.store.fail_over_to(net.saved)
        elif fault < 0.57:
            net.store.wipe()
        await asyncio.sleep(random_.choice((0.0, 0.1, 0.5, 2.0)))
    heal(net)
    await asyncio.sleep(15.0)
    assert_same(net)
    assert known(net.nodes["A"]) == known(net.nodes["B"]) == known(net.nodes["C"]) == stored(net)
    await end(net)


@over_seeds(8)
def test_what_a_store_has_lost_is_written_again_although_nobody_renews_anything(seed):
    on_virtual_time(history_without_renewals, seed)


async def raced():
    net = sharing(random.Random(0))
    a, b, c = net.nodes.values()
    await asyncio.sleep(3.0)
    registers(b, duration_s=300)
    await asyncio.sleep(3.0)
    view = net.store.views[1]
    write = view.write

    async def late(place, writes):
        view.write = write
        a.registry.cancel(*SHOP_A, a.now())
        await a.peers.storage.flush()
        await a.stop()
        return await write(place, writes)

    view.write = late
    b.registry.renew(*SHOP_A, b.now())
    await asyncio.sleep(3.0)
    assert {} == b.listed() == c.listed(), "it left after b had read the store, and before it wrote"
    assert stored(net)[SHOP_A][1]
    await end(net)


def test_a_registry_overwrites_nothing_that_it_has_not_read():
    on_virtual_time(raced)


async def failed_over():
    net = sharing(random.Random(0))
    a, b, c = net.nodes.values()
    await asyncio.sleep(3.0)
    saved = net.store.state()
    registers(a, "x", duration_s=300)
    await asyncio.sleep(3.0)
    net.store.fail_over_to(saved)
    for view in (net.store.views[0], net.store.views[2]):
        view.is_cut = True
    registers(b, "y", duration_s=300)
    await asyncio.sleep(5.0)  # now the numbers of writes are as they were, and are those of others
    heal(net)
    await asyncio.sleep(3.0)
    assert {("SHOP", "x"), ("SHOP", "y")} == set(a.listed()) == set(c.listed())
    await end(net)


def test_a_store_that_failed_over_is_read_from_its_beginning_whatever_its_numbers_are():
    on_virtual_time(failed_over)


async def within(most_s, holds):
    began = asyncio.get_running_loop().time()
    while not holds():
        await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - began <= most_s


async def changes_seen():
    net = sharing(random.Random(0))
    a, b, c = net.nodes.values()
    await asyncio.sleep(3.0)
    registers(a)
    await within(1.0, lambda: SHOP_A in b.listed() and SHOP_A in c.listed())
    b.registry.override(*SHOP_A, "OUT_OF_SERVICE", 0, b.now())
    await within(1.0, lambda: a.listed()[SHOP_A] == c.listed()[SHOP_A] == "OUT_OF_SERVICE")
    c.registry.update_metadata(*SHOP_A, {"x": "1"}, c.now())
    await within(1.0, lambda: all(each.registry.lease(*SHOP_A).entry.instance.metadata == {"x": "1"} for each in (a, b)))
    b.registry.cancel(*SHOP_A, b.now())
    await within(1.0, lambda: a.listed() == c.listed() == {})
    assert_same(net)
    registers(a, duration_s=30)  # it comes back, and renews at one of them only
    for _ in range(8):
        await asyncio.sleep(10.0)
        assert a.registry.renew(*SHOP_A, a.now())
        assert SHOP_A in b.listed()
    assert SHOP_A in c.listed()
    await asyncio.sleep(60.0)  # it has crashed
    assert [{}] * 3 == [each.listed() for each in net.nodes.values()]
    assert {} == net.store.live(asyncio.get_running_loop().time()), "its lease has run out there, too"
    await end(net)


def test_a_change_at_one_registry_is_at_the_others_within_a_second_and_so_is_a_lease():
    on_virtual_time(changes_seen)


async def restarted():
    net = sharing(random.Random(0))
    net.store.most = 250
    a, b, _ = net.nodes.values()
    for number in range(100):
        registers(b, f"i{number}", duration_s=300)
    a.registry.override("SHOP", "i1", "OUT_OF_SERVICE", 0, a.now())
    await asyncio.sleep(5.0)
    await a.stop()
    net.store.is_there = False
    begin(net, a, wait_s=30.0)
    await asyncio.sleep(10.0)
    assert 403 == a.answer("GET", "/apps", is_peer=False).status == a.answer("GET", "/apps/delta", is_peer=False).status
    registers(a, "meanwhile", duration_s=300)
    net.store.is_there = True
    await within(3.0, lambda: a.registry.is_complete)
    assert 101 == len(a.listed()), "it is complete when it has everything, and not before"
    assert 200 == a.answer("GET", "/apps", is_peer=False).status
    await asyncio.sleep(2.0)
    assert_same(net)
    await end(net)


def test_a_registry_that_starts_lists_nothing_before_it_has_what_the_store_has():
    on_virtual_time(restarted)


async def alone_with_the_store():
    net = sharing(random.Random(0))
    nodes = list(net.nodes.values())
    for number, node in enumerate(nodes):
        registers(node, f"i{number}", duration_s=90)
    await asyncio.sleep(5.0)
    for node in nodes:
        await node.stop()
    await asyncio.sleep(20.0)
    begin(net, nodes[0], wait_s=30.0)
    await within(2.0, lambda: nodes[0].registry.is_complete)
    assert 3 == len(nodes[0].listed())
    lease = nodes[0].registry.lease("SHOP", "i1")
    assert 20.0 < nodes[0].now().s - lease.renewed_s < 27.0, "the lease goes on, and does not begin anew"

    await nodes[0].stop()
    await asyncio.sleep(40.0)  # too long: leases may have run out whose instances are well
    begin(net, nodes[0], wait_s=30.0)
    await asyncio.sleep(10.0)
    assert not nodes[0].registry.is_complete
    assert 3 == len(nodes[0].listed())
    await within(21.0, lambda: nodes[0].registry.is_complete)
    for node in nodes[1:]:
        begin(net, node)
    await end(net)


def test_all_registries_that_restart_begin_with_the_stores_list_and_take_it_for_whole_only_if_they_were_quick():
    on_virtual_time(alone_with_the_store)


async def wiped():
    net = sharing(random.Random(0))
    a, b, c = net.nodes.values()
    for number in range(20):
        registers(b, f"i{number}", duration_s=300)
    registers(b, "gone")
    await asyncio.sleep(5.0)
    b.registry.cancel("SHOP", "gone", b.now())
    await asyncio.sleep(5.0)
    await c.stop()
    written = b.peers.storage.counts["written"] + a.peers.storage.counts["written"]
    net.store.wipe()
    for view in net.store.views:
        view.is_cut = True
    begin(net, c, wait_s=30.0)
    await asyncio.sleep(10.0)
    assert {} == c.listed()
    assert not c.registry.is_complete, "an empty store is not believed to be all there is"
    heal(net)
    await within(5.0, lambda: c.registry.is_complete)
    assert 20 == len(c.listed())
    await asyncio.sleep(5.0)
    assert_same(net)
    assert_stored(net)
    written = b.peers.storage.counts["written"] + a.peers.storage.counts["written"] - written
    assert 21 <= written <= 42
    assert 409 == c.answer("POST", "/apps/SHOP", json.dumps({"instance": {
        "instanceId": "gone", "hostName": "h", "app": "SHOP", "ipAddr": "10.0.0.1", "lastDirtyTimestamp": "1",
        "dataCenterInfo": {"name": "MyOwn"}}}).encode(), is_peer=False).status
    await end(net)


def test_a_store_that_was_wiped_is_given_everything_again_and_not_believed_before():
    on_virtual_time(wiped)


async def never_there():
    net = three(random.Random(0))
    net.store = Records(random.Random(0))
    net.store.is_there = False
    for node in net.nodes.values():
        begin(net, node, wait_s=30.0)
    a, b, _ = net.nodes.values()
    await asyncio.sleep(5.0)
    registers(a, duration_s=300)
    assert 200 == a.answer("PUT", "/apps/SHOP/a", is_peer=False).status
    await asyncio.sleep(30.0)
    assert 200 == a.answer("GET", "/apps", is_peer=False).status
    assert {SHOP_A} == set(a.listed())
    net.store.is_there = True
    await within(3.0, lambda: SHOP_A in b.listed())
    await end(net)


def test_without_the_store_registries_serve_what_they_have():
    on_virtual_time(never_there)


async def overflowing():
    net = sharing(random.Random(0), most_queued=10)
    a, b, _ = net.nodes.values()
    await asyncio.sleep(3.0)
    net.store.is_there = False
    for number in range(100):
        registers(a, f"i{number}", duration_s=300)
        assert len(a.peers.storage.queue) <= 10
    await asyncio.sleep(5.0)
    net.store.is_there = True
    await within(30.0, lambda: len(b.listed()) == 100)
    await asyncio.sleep(3.0)
    assert_same(net)
    assert a.peers.storage.queue.overflows
    await end(net)


def test_a_queue_that_overflowed_is_made_good_by_reading_the_store_from_its_beginning():
    on_virtual_time(overflowing)


def forged(name, copy, said=b""):
    return {"by": "somebody", "version": "1", "instance": said, "until": 1e9,
            "copy": copy if isinstance(copy, bytes) else json.dumps(copy).encode()}


async def lying():
    net = sharing(random.Random(0))
    store, (a, b, _) = net.store, net.nodes.values()
    await asyncio.sleep(3.0)
    registers(a, duration_s=300)
    await asyncio.sleep(2.0)
    name = '["SHOP", "a"]'
    good = json.loads(store.records[name]["copy"])
    before = a.table()
    for number, (target, record) in enumerate({
            "x": forged("x", b"\xff["), '["SHOP", "b"]': forged("b", good), '["SHOP", "c"]': forged("c", b"[" * 8000),
            '["SHOP", "d"]': forged("d", {**good, "id": "d", "era": 10**15}), name: forged("a", {**good, "renewed": -1}),
            '["SHOP", "e"]': forged("e", {**good, "id": "e"}, b"7"),
            '["SHOP", "f"]': forged("f", {**good, "id": "f"}, store.records[name]["instance"])}.items(), 1):
        store.records[target] = {**record, "number": store.number + number, "at": asyncio.get_running_loop().time()}
    store.number += 7
    await asyncio.sleep(3.0)
    assert before == a.table() == b.table()
    for node in (a, b):
        assert 7 == node.peers.storage.counts["refused_here"]
        assert "what it says of an instance is refused" in node.peers.storage.error
    a.registry.renew(*SHOP_A, a.now())
    await asyncio.sleep(2.0)
    assert good["era"] == json.loads(store.records[name]["copy"])["era"]
    assert store.records[name]["by"] == a.registry.name, "what is wrong is written over"
    assert b.registry.lease(*SHOP_A).renewals
    await end(net)


def test_what_cannot_be_read_or_is_of_another_instance_changes_nothing_and_is_shown():
    on_virtual_time(lying)
