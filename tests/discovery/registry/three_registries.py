"""Three registries in virtual time, a network between them that loses, repeats, delays and parts, and their instances."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.moment import Moment
from resilience.discovery.registry.peer import PeerTerms
from resilience.discovery.registry.peers import PeerPlace, Peers, StoragePlace
from resilience.discovery.registry.refusal import RefusedError
from resilience.discovery.registry.rest import Request, RestApi
from resilience.discovery.registry.settings import RegistrySettings
from resilience.testing import VirtualTimeLoop
from tests.discovery.registry.plain_registry import EPOCH_MS, instance

COMPARE_S = 15.0


class Node:
    """One registry; *skew_s* is how far its clock is ahead."""

    def __init__(self, name, net, *, skew_s=0.0, most_queued=1000, **settings):
        self.name, self.net, self.skew_s = name, net, skew_s
        self.settings = RegistrySettings(**{"self_preservation": False, "eviction_interval": 10.0, **settings})
        self.terms = PeerTerms(timeout_s=2.0, compare_s=COMPARE_S, most_queued=most_queued)
        self.registry = self.api = self.peers = self.ticking = None

    def now(self):
        s = asyncio.get_running_loop().time()
        return Moment(s, EPOCH_MS + int((s + self.skew_s) * 1000))

    def start(self, others, wait_s=0.0, store=None):
        self.registry = InstanceRegistry(self.settings, self.now())
        self.api, self.peers = RestApi(self.registry), Peers(self.registry, self.now)
        self.peers.start([PeerPlace(f"http://{other}/eureka", self.asking(other), self.terms) for other in others], wait_s,
                         None if store is None else StoragePlace(store.view, self.terms.most_queued))
        self.ticking = asyncio.ensure_future(self.tick())

    def asking(self, other):
        async def ask(method, path, body, most):
            return await self.net.carry(self.name, other, method, path, body)
        return ask

    async def tick(self):
        while True:
            await asyncio.sleep(1.0)
            self.registry.tick(self.now(), random.Random(0).sample)

    async def stop(self):
        """As if the process were killed: nothing is flushed."""
        self.ticking.cancel()
        for each in self.peers:
            each.queue.clear()
        if self.peers.storage is not None:
            self.peers.storage.queue.clear()
        await self.peers.close()
        self.registry = None

    def answer(self, method, path, body=b"", is_peer=True):
        path, _, query = path.partition("?")
        return self.api.answer(Request(
            method=method, path=f"/eureka{path}", query=query, body=body, peer="10.0.0.9", server="10.0.0.2", is_peer=is_peer,
            headers={b"x-netflix-discovery-replication": b"true"} if is_peer else {}), self.now())

    def table(self):
        """All that must be the same everywhere."""
        return {lease.key: (lease.entry.instance, lease.said, lease.override, lease.version, lease.override_stamp)
                for lease in self.registry.leases()}

    def listed(self):
        return {lease.key: lease.entry.instance.status for lease in self.registry.leases()}


class Net:
    """Carries requests between registries."""

    def __init__(self, random_, *, loss=0.0, repeat=0.0, delay_s=0.01):
        self.random, self.loss, self.repeat, self.delay_s = random_, loss, repeat, delay_s
        self.nodes, self.parted, self.counts = {}, set(), Counter()
        self._late = set()

    def cut(self, one, other):
        self.parted |= {(one, other), (other, one)}

    def heal(self):
        self.parted.clear()
        self.loss = self.repeat = 0.0

    async def carry(self, source, target, method, path, body):
        await self._travel()
        if (source, target) in self.parted or self.nodes[target].registry is None or self.random.random() < self.loss:
            self.counts["lost"] += 1
            await asyncio.sleep(self.random.choice((0.0, 60.0)))  # refused, or nothing is ever heard
            raise ConnectionError("lost")
        answer = self.nodes[target].answer(method, path, body)
        self.counts["carried"] += 1
        if method == "POST" and self.random.random() < self.repeat:  # it comes once more, behind later ones
            late = asyncio.ensure_future(self._again(target, method, path, body))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        await self._travel()
        if self.random.random() < self.loss:
            raise ConnectionError("the answer is lost")
        return answer.status, answer.body

    async def _travel(self):
        await asyncio.sleep(self.random.uniform(0.0, 2 * self.delay_s))

    async def _again(self, target, method, path, body):
        await asyncio.sleep(self.random.uniform(0.0, 20.0))
        if self.nodes[target].registry is not None:
            self.nodes[target].answer(method, path, body)
            self.counts["repeated"] += 1


class Program:
    """A program that registers, renews and leaves, at one registry at a time, as clients of Eureka do."""

    def __init__(self, identity, net, random_, *, skew_s=0.0, renew_s=10.0):
        self.identity, self.net, self.random, self.skew_s, self.renew_s = identity, net, random_, skew_s, renew_s
        self.key, self.home, self.is_up, self.dirty_ms, self.running = ("SHOP", identity), None, False, 0, None

    def said(self):
        return instance("SHOP", self.identity, duration_s=30, dirty_ms=self.dirty_ms)

    def start(self):
        self.home = self.random.choice(list(self.net.nodes))
        loop = asyncio.get_running_loop()
        self.dirty_ms, self.is_up = EPOCH_MS + int((loop.time() + self.skew_s) * 1000), True
        self.running = asyncio.ensure_future(self.live())

    async def live(self):
        self.register()
        while True:
            await asyncio.sleep(self.renew_s)
            node = self.net.nodes[self.home]
            if node.registry is None or self.random.random() < 0.1:
                self.home = self.random.choice(list(self.net.nodes))
                node = self.net.nodes[self.home]
            if node.registry is not None and not node.registry.renew(*self.key, node.now()):
                self.dirty_ms += 1000  # as Java's does: it says something new
                self.register()

    def register(self, said=None):
        node = self.net.nodes[self.home]
        if node.registry is not None:
            try:
                node.registry.register(self.said() if said is None else said, "10.0.0.9", node.now())
            except RefusedError:
                node.registry.counts["late"] += 1

    def crash(self):
        self.running.cancel()
        self.is_up = False

    def leave(self):
        """Leave, as far as a registry is there that knows it; a registration from before may still be under way."""
        self.crash()
        node = self.net.nodes[self.home]
        said = self.said()
        if node.registry is not None:
            node.registry.cancel(*self.key, node.now())
        if self.random.random() < 0.5:
            self.home = self.random.choice(list(self.net.nodes))
            asyncio.get_running_loop().call_later(self.random.uniform(0.0, 3.0), self.late, said)

    def late(self, said):
        if not self.is_up:
            self.register(said)


def on_virtual_time(main, *arguments):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main(*arguments))


def three(random_, net=None, **settings):
    """Three registries, not started."""
    net = Net(random_) if net is None else net
    for name in "ABC":
        net.nodes[name] = Node(name, net, **settings)
    return net


def start(net, wait_s=0.0):
    for name, node in net.nodes.items():
        node.start([other for other in net.nodes if other != name], wait_s)


async def end(net):
    for node in net.nodes.values():
        if node.registry is not None:
            await node.stop()


def body_of(*items):
    return json.dumps({"replicationList": list(items)}).encode()
