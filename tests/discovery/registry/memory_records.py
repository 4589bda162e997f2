"""A store of registries in memory, in the loop's time: what the scripts for Redis do, said once more, plainly."""

import asyncio
import copy

from resilience.discovery.registry.records import News, Place, Record, Written

WHOLE_S = 30.0


class Records:
    """What all registries share. It can be lost, frozen, wiped, and be as it was some time ago."""

    def __init__(self, random_, *, most=7):
        self.random, self.most = random_, most
        self.is_there, self.loss, self.delay_s = True, 0.0, 0.01
        self.views, self.wipes = [], 0
        self.wipe()

    def wipe(self):
        self.wipes += 1
        self.token, self.number, self.records, self.whole_s = f"t{self.wipes}", 0, {}, -1e9

    def state(self):
        return copy.copy((self.token, self.number, dict(self.records), self.whole_s))

    def fail_over_to(self, state):
        """A replica takes over that is behind; everybody's connection breaks."""
        self.token, self.number, records, self.whole_s = state
        self.records = dict(records)
        for view in self.views:
            view.connect(False)

    def live(self, now):
        self.records = {name: each for name, each in self.records.items() if each["until"] > now}
        return self.records

    def view(self):
        view = View(self)
        self.views.append(view)
        return view


class View:
    """The store as one registry sees it: after a failure it finds it again within a second."""

    def __init__(self, store):
        self.store, self.name, self.is_connected, self.is_closed, self.told = store, "", False, False, []
        self.looking = None
        self.is_cut = False

    def start(self, name):
        self.name = name
        self.looking = asyncio.ensure_future(self.look())

    async def look(self):
        while True:
            if not self.is_connected and self.store.is_there and not self.is_cut:
                self.connect(True)
            await asyncio.sleep(self.store.random.uniform(0.2, 1.0))

    def follow(self, told):
        self.told.append(told)

    def connect(self, is_connected):
        if is_connected != self.is_connected:
            self.is_connected = is_connected
            for told in self.told:
                told(is_connected)

    def report(self):
        return {"place": "memory", "is_connected": self.is_connected, "trouble": None, "losses": 0, "round_trips": 0}

    def close(self):
        self.is_connected = False
        if self.looking is not None:
            self.looking.cancel()
        if self in self.store.views:
            self.store.views.remove(self)

    async def closed(self):
        pass

    async def travel(self, is_back=False):
        store = self.store
        await asyncio.sleep(store.random.uniform(0.0, 2 * store.delay_s))
        if not self.is_connected or not store.is_there or self.is_cut or store.random.random() < store.loss:
            await asyncio.sleep(store.random.choice((0.0, 1.0)))  # refused, or nothing is ever heard
            self.connect(False)
            raise ConnectionError("lost")

    async def news(self, place, *, everything, vouches):
        await self.travel()
        store, now = self.store, asyncio.get_running_loop().time()
        since, starts = place.number, place.token != store.token or store.number < place.number
        if starts:
            since = 0
        elif vouches:
            store.whole_s = now
        found = sorted((each["number"], name) for name, each in store.live(now).items() if each["number"] > since)
        page = found[:store.most]
        records = [Record(name, now - store.records[name]["at"], store.records[name]["copy"]) for _, name in page
                   if starts or everything or store.records[name]["by"] != self.name]
        news = News(Place(store.token, page[-1][0] if page else since), starts, now - store.whole_s < WHOLE_S,
                    len(page) == store.most, records)
        await self.travel()
        return news

    async def read(self, names):
        await self.travel()
        now = asyncio.get_running_loop().time()
        live = self.store.live(now)
        found = [Record(name, now - live[name]["at"], live[name]["copy"], live[name]["instance"]) for name in names
                 if name in live]
        await self.travel()
        return found

    async def write(self, place, writes):
        await self.travel()
        written = [self.put(each, place) for each in writes]
        await self.travel()
        return written

    def put(self, write, place):
        store, now = self.store, asyncio.get_running_loop().time()
        there = store.live(now).get(write.name)
        if place.token != store.token or (
                there is not None and there["by"] != self.name and there["number"] > place.number):
            return Written.UNREAD
        if write.instance is None and (there is None or there["version"] != write.version):
            return Written.INCOMPLETE
        store.number += 1
        store.records[write.name] = {
            "by": self.name, "at": now, "version": write.version, "copy": write.copy, "number": store.number,
            "until": now + write.lease_s, "instance": there["instance"] if write.instance is None else write.instance}
        return Written.DONE
