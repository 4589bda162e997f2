"""Three registries in virtual time: whatever the network does, they come to have the same, and nothing that left returns."""

import asyncio
import json
import logging
import random

import attrs
import pytest

from resilience.discovery.registry.peer import PeerState
from tests.discovery.registry.plain_registry import EPOCH_MS, instance
from tests.discovery.registry.three_registries import (
    COMPARE_S,
    Net,
    Node,
    Program,
    body_of,
    end,
    on_virtual_time,
    start,
    three,
)
from tests.seeds import over_seeds


@pytest.fixture(autouse=True)
def quiet_log(caplog):
    """Circuits that open and close fill a log that nobody reads here."""
    caplog.set_level(logging.CRITICAL, logger="resilience")


#: Longest time to be the same again: a failure's wait, a comparison, a renewal, an eviction.
SETTLED_S = 60.0
SHOP_A = ("SHOP", "a")


def registers(node, identity="a", **more):
    said = instance("SHOP", identity, **{"dirty_ms": node.now().unix_ms, **more})
    node.registry.register(said, "10.0.0.9", node.now())


def assert_same(net):
    tables = [node.table() for node in net.nodes.values()]
    assert tables[0] == tables[1] == tables[2]
    assert len({tuple(node.registry.table.digests) for node in net.nodes.values()}) == 1


def trouble(random_, net, programs):
    """One thing that goes wrong, or that somebody does."""
    node = random_.choice([each for each in net.nodes.values() if each.registry is not None])
    kind = random_.choices(("start", "leave", "crash", "cut", "mend", "override", "remove", "metadata", "loss"),
                           (6, 4, 1, 1, 2, 1, 1, 1, 1))[0]
    program = random_.choice(programs)
    if kind == "start" and not program.is_up:
        program.start()
    elif kind in ("leave", "crash") and program.is_up:
        getattr(program, kind)()
    elif kind == "cut":
        net.cut(*random_.sample("ABC", 2))
    elif kind == "mend":
        net.parted.clear()
    elif kind == "override":
        node.registry.override(*program.key, random_.choice(("OUT_OF_SERVICE", "DOWN", "UP")), 0, node.now())
    elif kind == "remove":
        node.registry.remove_override(*program.key, random_.choice(("UNKNOWN", "UP")), 0, node.now())
    elif kind == "metadata":
        node.registry.update_metadata(*program.key, {random_.choice("xy"): str(node.now().s)}, node.now())
    elif kind == "loss":
        net.loss = random_.choice((0.0, 0.1, 0.4))


async def history(seed):
    random_ = random.Random(seed)
    net = three(random_, Net(random_, loss=0.1, repeat=0.2, delay_s=random_.choice((0.01, 0.5))),
                most_queued=random_.choice((5, 1000)))
    for node in net.nodes.values():
        node.skew_s = random_.choice((0.0, 0.0, 0.3, -1.0))
    start(net)
    programs = [Program(f"i{number}", net, random_, skew_s=random_.choice((0.0, 0.0, -7200.0, 7200.0)))
                for number in range(12)]
    for _ in range(120):
        trouble(random_, net, programs)
        if random_.random() < 0.03:
            victim = net.nodes[random_.choice("ABC")]
            await victim.stop()
            await asyncio.sleep(random_.uniform(0.0, 20.0))
            victim.start([name for name in net.nodes if name != victim.name])
        await asyncio.sleep(random_.choice((0.0, 0.3, 1.0, 5.0)))
        assert all(len(peer.queue) <= node.terms.most_queued for node in net.nodes.values() for peer in node.peers)
    net.heal()
    await asyncio.sleep(SETTLED_S + 60.0)  # and what has crashed runs out
    assert_same(net)
    assert {each.key for each in programs if each.is_up} == set(net.nodes["A"].table())
    assert net.counts["repeated"] > 0
    assert net.counts["lost"] > 10
    for each in programs:
        if each.is_up:
            each.crash()
    await end(net)


@over_seeds(6)
def test_three_registries_have_the_same_and_nothing_that_left_whatever_the_network_did(seed):
    on_virtual_time(history, seed)


async def healthy(most_s, act, holds):
    """The time until *holds* after *act* at the first registry."""
    net = three(random.Random(0))
    start(net)
    await asyncio.sleep(1.0)
    nodes = list(net.nodes.values())
    registers(nodes[0])
    await asyncio.sleep(1.0)
    act(nodes)
    began = asyncio.get_running_loop().time()
    while not all(holds(node) for node in nodes):
        await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - began <= most_s
    assert_same(net)
    await end(net)


@pytest.mark.parametrize(("act", "holds"), [
    (lambda nodes: registers(nodes[1], "b"), lambda node: ("SHOP", "b") in node.listed()),
    (lambda nodes: nodes[1].registry.cancel(*SHOP_A, nodes[1].now()), lambda node: node.listed() == {}),
    (lambda nodes: nodes[1].registry.override(*SHOP_A, "OUT_OF_SERVICE", 0, nodes[1].now()),
     lambda node: node.listed()[SHOP_A] == "OUT_OF_SERVICE" and node.registry.lease(*SHOP_A).override == "OUT_OF_SERVICE"),
    (lambda nodes: nodes[2].registry.update_metadata(*SHOP_A, {"x": "1"}, nodes[2].now()),
     lambda node: node.registry.lease(*SHOP_A).entry.instance.metadata == {"x": "1"})],
    ids=["registers", "leaves", "is overridden", "has other metadata"])
def test_a_change_at_one_registry_is_at_the_others_within_a_second(act, holds):
    on_virtual_time(healthy, 1.0, act, holds)


async def overridden():
    net = three(random.Random(0))
    start(net)
    a, b, c = net.nodes.values()
    registers(a)
    await asyncio.sleep(2.0)
    net.cut("A", "B")
    net.cut("A", "C")
    a.registry.override(*SHOP_A, "OUT_OF_SERVICE", 0, a.now())
    await asyncio.sleep(1.0)
    registers(b)  # which knows nothing of it
    await asyncio.sleep(5.0)
    assert "UP" == c.listed()[SHOP_A]
    net.heal()
    await asyncio.sleep(SETTLED_S / 2)
    assert_same(net)
    assert "OUT_OF_SERVICE" == c.listed()[SHOP_A]

    c.registry.remove_override(*SHOP_A, "UP", 0, c.now())
    await asyncio.sleep(1.0)
    assert_same(net)
    assert ("UP", None) == (a.listed()[SHOP_A], a.registry.lease(*SHOP_A).override)
    await end(net)


def test_an_operators_status_outlives_a_registration_elsewhere_that_knows_nothing_of_it():
    on_virtual_time(overridden)


async def parted(self_preservation):
    net = three(random.Random(0), self_preservation=self_preservation)
    start(net)
    a, b, _ = net.nodes.values()
    registers(a, "gone")
    registers(a, "stays")
    await asyncio.sleep(2.0)
    for each in ("A", "B"):
        net.cut(each, "C")
    net.cut("A", "B")
    a.registry.cancel("SHOP", "gone", a.now())
    for _ in range(13):
        await asyncio.sleep(30.0)
        b.registry.renew("SHOP", "stays", b.now())
    assert self_preservation == (("SHOP", "gone") in b.listed())
    net.heal()
    await asyncio.sleep(SETTLED_S)
    assert_same(net)
    assert {("SHOP", "stays")} == set(a.listed())
    await end(net)


@pytest.mark.parametrize("self_preservation", [True, False])
def test_after_a_partition_what_left_is_gone_and_what_reaches_one_registry_is_at_all(self_preservation):
    on_virtual_time(parted, self_preservation)


async def overflowing():
    net = three(random.Random(0), most_queued=10)
    start(net)
    a, b, c = net.nodes.values()
    await asyncio.sleep(2.0)
    net.cut("A", "B")
    for number in range(100):
        registers(a, f"i{number}")
        assert all(len(peer.queue) <= 10 for peer in a.peers)
    await asyncio.sleep(40.0)
    assert 100 == len(c.listed())
    assert any(peer.queue.overflows for peer in a.peers)
    net.heal()
    await asyncio.sleep(20.0)
    for number in range(100):
        a.registry.renew("SHOP", f"i{number}", a.now())
    await asyncio.sleep(20.0)
    assert 100 == len(b.listed())
    assert_same(net)
    await end(net)


def test_a_queue_that_overflowed_is_made_good_by_a_comparison():
    on_virtual_time(overflowing)


async def restarted():
    net = three(random.Random(0))
    start(net)
    a, b, c = net.nodes.values()
    registers(b, duration_s=300)
    await asyncio.sleep(2.0)
    await a.stop()
    net.cut("A", "B")
    net.cut("A", "C")
    a.start("BC", wait_s=30.0)
    await asyncio.sleep(10.0)
    assert 403 == a.answer("GET", "/apps", is_peer=False).status == a.answer("GET", "/apps/delta", is_peer=False).status
    registers(a, "meanwhile", duration_s=300)
    net.heal()
    await asyncio.sleep(8.0)  # less than it would wait
    assert 200 == a.answer("GET", "/apps", is_peer=False).status
    assert {SHOP_A, ("SHOP", "meanwhile")} == set(a.listed())
    assert_same(net)
    await end(net)


def test_a_registry_that_starts_lists_nothing_before_it_has_the_instances_of_another():
    on_virtual_time(restarted)


async def all_started_at_once():
    net = three(random.Random(0))
    start(net, wait_s=30.0)
    for seconds, status in ((10.0, 403), (25.0, 200)):
        await asyncio.sleep(seconds)
        assert [status] * 3 == [node.answer("GET", "/apps", is_peer=False).status for node in net.nodes.values()]
    await end(net)


def test_registries_that_start_together_wait_for_each_other_no_longer_than_they_may():
    on_virtual_time(all_started_at_once)


async def itself():
    net = Net(random.Random(0))
    net.nodes["A"] = a = Node("A", net)
    a.start(["A"])
    registers(a)
    await asyncio.sleep(5.0)
    registers(a, "b")
    (peer,) = a.peers
    assert (PeerState.ITSELF, 0) == (peer.state, len(peer.queue))
    assert 2 == len(a.listed())
    await end(net)


def test_a_registry_that_is_its_own_peer_notices_and_sends_itself_nothing():
    on_virtual_time(itself)


async def quiet():
    net = three(random.Random(0))
    start(net)
    nodes = list(net.nodes.values())
    await asyncio.sleep(2.0)
    registers(nodes[0])
    await asyncio.sleep(2.0)
    sent = [peer.counts["sent"] for node in nodes for peer in node.peers]
    await asyncio.sleep(2 * COMPARE_S)
    assert sent == [peer.counts["sent"] for node in nodes for peer in node.peers] == [1, 1, 0, 0, 0, 0]
    await end(net)


def test_what_another_registry_said_is_never_passed_on():
    on_virtual_time(quiet)


# -- a peer that lies


class Liar:
    """Answers for registry B as *lie* says."""

    def __init__(self, net, lie):
        self._carry, self._lie = net.carry, lie
        net.carry = self.carry

    async def carry(self, source, target, method, path, body):
        if target == "B":
            return await self._lie(method, path, body)
        return await self._carry(source, target, method, path, body)


async def _never(*_):
    await asyncio.sleep(1e6)


def _says(status, body):
    async def lie(*_):
        return status, body
    return lie


DIGEST = json.dumps({"registry": "liar", "complete": True, "instances": 0, "digests": ["f" * 16] * 256}).encode()


def _with_digest(status, body):
    async def lie(method, path, _):
        return (200, DIGEST) if path.endswith("digest") else (status, body)
    return lie


def _copies(path, copies):
    """All that there is of the parts that are asked for."""
    return json.dumps({"parts": 1 + path.count(","), "copies": copies}).encode()


async def _conflicts(method, path, body):
    """Says of everything that its own, of another version, is newer, and knows no instance that is renewed."""
    if path.endswith("digest"):
        return 200, DIGEST
    if method == "GET":
        return 200, _copies(path, [])
    found = []
    for each in json.loads(body)["replicationList"]:
        copy = {**each["resilience"], "era": 0, "stamp": [1, "x"]}
        found.append({"statusCode": 404 if each["action"] == "Heartbeat" else 409, "resilience": copy,
                      "responseEntity": {**each.get("instanceInfo", {}), "hostName": "evil.example"}})
    return 200, json.dumps({"responseList": found}).encode()


async def _random_garbage(method, path, _):
    made = random.Random(len(path))
    return 200, made.choice([b"{}", b"[]", b"null", b'{"copies":[1,{"resilience":{},"instance":[]}]}', b"\xff" * 99,
                             b'{"responseList":[]}', b"[" * 100_000, DIGEST])


def _of_the_future(era_ms, count=1):
    async def lie(method, path, _):
        if path.endswith("digest"):
            return 200, DIGEST
        copies = []
        for number in range(count):
            said = {"app": "SHOP", "id": f"x{number}", "era": era_ms, "left": False, "stamp": [1, "x"], "operated": [0, ""],
                    "said": "UP", "source": f"10.1.{number >> 8}.{number & 255}"}
            shown = {"app": "SHOP", "instanceId": f"x{number}", "hostName": "h", "ipAddr": "10.0.0.1",
                     "dataCenterInfo": {"name": "MyOwn"}}
            copies.append({"resilience": said, "instance": shown})
        return 200, _copies(path, copies) if method == "GET" else b"{}"
    return lie


LIES = {
    "never answers": _never, "garbage": _says(200, b"<html>hello"), "redirects": _says(302, b""), "is denied": _says(401, b""),
    "errors": _says(500, b"x"), "digest and garbage": _with_digest(200, b'{"copies":{}}'), "random garbage": _random_garbage,
    "refuses batches": _with_digest(400, b""), "conflicts": _conflicts, "the future": _of_the_future(EPOCH_MS + 10**12)}


async def lied_to(lie):
    net = three(random.Random(0), max_instances=50)
    Liar(net, lie)
    start(net)
    a, _, c = net.nodes.values()
    registers(a, duration_s=600)
    for number in range(30):
        await asyncio.sleep(2.0)
        a.registry.renew(*SHOP_A, a.now())
        a.registry.update_metadata(*SHOP_A, {"n": str(number)}, a.now())
    await asyncio.sleep(1.0)
    assert {SHOP_A: "UP"} == c.listed() == a.listed()
    assert {"n": "29"} == c.registry.lease(*SHOP_A).entry.instance.metadata  # nobody else is kept waiting
    assert "a.internal" == a.registry.lease(*SHOP_A).entry.instance.host_name
    liar, honest = a.peers.report(a.now())
    assert (0, 1) >= (honest["queue"], liar["queue"])
    assert "up" == honest["state"]
    assert liar["state"] != "up" or liar["counts"].get("contradicted") or liar["counts"].get("refused_here")
    assert liar["last_error"] or liar["counts"]["contradicted"]
    assert liar["counts"].get("failed", 0) + liar["counts"].get("sent", 0) < 100  # no faster than it may
    await end(net)


@pytest.mark.parametrize("lie", LIES)
def test_a_peer_that_lies_is_shown_and_changes_nothing(lie):
    on_virtual_time(lied_to, LIES[lie])


async def flooded():
    net = three(random.Random(0), max_instances=50)
    Liar(net, _of_the_future(EPOCH_MS, 200))
    start(net)
    a = net.nodes["A"]
    await asyncio.sleep(5.0)
    assert 50 == len(a.registry)
    assert a.peers.report(a.now())[0]["counts"]["refused_here"] >= 150
    await end(net)


def test_limits_hold_for_what_a_peer_lists():
    on_virtual_time(flooded)


# -- Eureka's own items


def eureka_item(action, **more):
    return {"appName": "SHOP", "id": "a", "lastDirtyTimestamp": EPOCH_MS, "status": "UP", "overriddenStatus": "UNKNOWN",
            "action": action, **more}


INFO = {"app": "SHOP", "instanceId": "a", "hostName": "h", "ipAddr": "10.0.0.1", "dataCenterInfo": {"name": "MyOwn"},
        "lastDirtyTimestamp": str(EPOCH_MS), "status": "UP"}


async def of_eureka(is_peer=True):
    node = Node("A", Net(random.Random(0)))
    node.start([])

    def send(*items):
        answer = node.answer("POST", "/peerreplication/batch/", body_of(*items), is_peer)
        assert 200 == answer.status
        return [each["statusCode"] for each in json.loads(answer.body)["responseList"]]

    renewal = eureka_item("Heartbeat")
    assert [404, 200, 200] == send(renewal, eureka_item("Register", instanceInfo=INFO), renewal)
    assert [404] == send({**renewal, "lastDirtyTimestamp": EPOCH_MS + 1})
    older = {**renewal, "lastDirtyTimestamp": EPOCH_MS - 1}
    answer = json.loads(node.answer("POST", "/peerreplication/batch", body_of(older)).body)["responseList"][0]
    assert (409, "a") == (answer["statusCode"], answer["responseEntity"]["instanceId"])
    assert [200] == send(eureka_item("StatusUpdate", status="OUT_OF_SERVICE"))
    assert "OUT_OF_SERVICE" == node.listed()[SHOP_A]
    assert [200, 200] == send(eureka_item("DeleteStatusOverride", status="UP"), renewal)
    assert [200, 404] == send(eureka_item("Cancel"), renewal)
    assert [400, 400, 400, 403 if not is_peer else 400] == send(
        eureka_item("Nothing"), 7, eureka_item("Register"),
        eureka_item("Register", instanceInfo={**INFO, "ipAddr": "127.0.0.1" if not is_peer else "x" * 300}))
    assert 400 == node.answer("POST", "/peerreplication/batch", b"{}").status
    assert 400 == node.answer("POST", "/peerreplication/batch", body_of(*[renewal] * 251)).status
    await node.stop()


@pytest.mark.parametrize("is_peer", [True, False])
def test_a_batch_of_eurekas_is_answered_item_by_item_by_its_rules(is_peer):
    on_virtual_time(of_eureka, is_peer)


class Eureka:
    """Stands for a server of another make: a list, and batches by Eureka's rules; it keeps what it was sent."""

    def __init__(self, *listed):
        self.listed, self.actions = {each["instanceId"]: each for each in listed}, []

    async def ask(self, method, path, body):
        if "digest" in path:
            return 404, b""
        if method == "GET":
            return 200, json.dumps({"applications": {"application": [
                {"name": "SHOP", "instance": list(self.listed.values())}]}}).encode()
        answers = []
        for each in json.loads(body)["replicationList"]:
            assert "resilience" not in each
            self.actions.append((each["action"], each["id"]))
            known = self.listed.get(each["id"])
            if each["action"] == "Register":
                self.listed[each["id"]] = each["instanceInfo"]
            elif each["action"] == "Cancel":
                self.listed.pop(each["id"], None)
            elif each["action"] == "Heartbeat" and known and int(known["lastDirtyTimestamp"]) > each["lastDirtyTimestamp"]:
                answers.append({"statusCode": 409, "responseEntity": known})
                continue
            answers.append({"statusCode": 200 if known or each["action"] != "Heartbeat" else 404})
        return 200, json.dumps({"responseList": answers}).encode()


async def beside_eureka():
    net, eureka = Net(random.Random(0)), Eureka(INFO)
    net.nodes.update({name: Node(name, net) for name in "AB"})
    Liar(net, eureka.ask)
    a = net.nodes["A"]
    a.start("B", wait_s=30.0)
    await asyncio.sleep(1.0)
    assert a.registry.is_complete
    assert {SHOP_A: "UP"} == a.listed()
    registers(a, "b", dirty_ms=EPOCH_MS + 5)
    await asyncio.sleep(1.0)
    assert {"a", "b"} == set(eureka.listed)

    a.registry.override("SHOP", "b", "OUT_OF_SERVICE", 0, a.now())
    await asyncio.sleep(1.0)
    a.registry.remove_override("SHOP", "b", "UP", 0, a.now())
    await asyncio.sleep(1.0)
    assert [("StatusUpdate", "b"), ("DeleteStatusOverride", "b")] == eureka.actions[-2:]

    del eureka.listed["b"]  # as if it had been started anew: a renewal is not known, and so it is registered
    a.registry.renew("SHOP", "b", a.now())
    await asyncio.sleep(1.0)
    assert [("Heartbeat", "b"), ("Register", "b")] == eureka.actions[-2:]

    eureka.listed["b"] = {**INFO, "instanceId": "b", "lastDirtyTimestamp": str(EPOCH_MS + 99), "hostName": "newer"}
    a.registry.renew("SHOP", "b", a.now())
    await asyncio.sleep(1.0)
    assert "newer" == a.registry.lease("SHOP", "b").entry.instance.host_name
    a.registry.cancel("SHOP", "b", a.now())
    await asyncio.sleep(1.0)
    assert {"a"} == set(eureka.listed)
    await a.stop()


def test_a_server_of_another_make_is_spoken_to_in_eurekas_words_alone():
    on_virtual_time(beside_eureka)


def test_two_copies_of_one_instance_are_told_apart_the_same_way_in_any_order():
    for seed in range(12):
        random_ = random.Random(seed)
        net = three(random_)
        copies = []

        async def collect(net=net, random_=random_, copies=copies):
            """Copies of one instance as three registries have changed it that have not heard of each other."""
            start(net)
            for node in net.nodes.values():
                net.cut(*random_.sample("ABC", 2))
                net.cut("A", "B")
                net.cut("B", "C")
                net.cut("A", "C")
                registers(node, dirty_ms=EPOCH_MS + random_.randint(-3, 3), metadata={"at": node.name})
                for _ in range(random_.randint(0, 2)):
                    node.registry.override(*SHOP_A, random_.choice(("DOWN", "OUT_OF_SERVICE")), 0, node.now())
                if random_.random() < 0.4:
                    node.registry.cancel(*SHOP_A, node.now())
                part = json.loads(node.answer("GET", f"/peerreplication/copies?parts={_part()}").body)["copies"]
                copies.extend((each, node.name) for each in part)
            results = []
            for _ in range(4):
                random_.shuffle(copies)
                fresh = Node("F", net)
                fresh.start([])
                for each, _ in copies * 2:
                    fresh.answer("POST", "/peerreplication/batch", body_of(
                        {"appName": "SHOP", "id": "a", "action": "Register", "resilience": each["resilience"],
                         "instanceInfo": each["instance"]}))
                results.append(fresh.table())
                await fresh.stop()
            await end(net)
            assert all(each == results[0] for each in results)

        on_virtual_time(collect)


def _part():
    from resilience.discovery.registry.lease_table import part_of

    return part_of(SHOP_A)


def test_the_version_of_a_copy_is_not_touched_by_what_it_is_compared_with():
    async def unchanged():
        net = three(random.Random(1))
        start(net)
        a, b, _ = net.nodes.values()
        await asyncio.sleep(1.0)
        registers(a)
        await asyncio.sleep(3 * COMPARE_S)
        registers(b, dirty_ms=a.registry.lease(*SHOP_A).entry.instance.dirty_ms)  # the same, elsewhere
        await asyncio.sleep(COMPARE_S)
        assert_same(net)
        assert attrs.evolve(a.registry.lease(*SHOP_A)).version == b.registry.lease(*SHOP_A).version
        await end(net)

    on_virtual_time(unchanged)
