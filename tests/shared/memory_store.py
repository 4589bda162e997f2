"""A shared store in memory, in any loop's time: what booking_script.py asks of the server, said once more in Python."""

import asyncio
import math

from resilience.shared.booking_script import BOOK, FOREVER_S, SLACK
from resilience.shared.store import StoreUnavailableError


class Server:
    """What all instances share; its clock is its own."""

    def __init__(self, clock, *, offset=0.0):
        self.clock, self.offset = clock, offset
        self.wiped_at, self.epoch, self.keys, self.questions = 0.0, "e0:0", {}, 0

    def now(self):
        return self.clock() + self.offset + 1e9

    def wipe(self):
        self.keys, self.wiped_at = {}, self.now()
        self.epoch = f"e{self.wiped_at}:{self.wiped_at}"

    def run(self, keys, arguments):
        self.questions += 1
        instance, epoch, *lines = arguments
        wiped = float(self.epoch.partition(":")[2]) if epoch == self.epoch else self.now()
        return [self.book(key, instance, wiped, *map(float, line.split())).encode()
                for key, line in zip(keys[1:], lines, strict=True)]

    def book(self, key, instance, wiped, interval, burst, max_wait, lifetime, is_sure, spent, keeps, owes, floor, seen,
             wants, least, *needs):
        now = self.now()
        state = self.keys.get(key)
        if state is not None and state["expires"] <= now:
            state = None
        if state is None:
            ahead, version, leases = 0.0, 0, {}
            if wiped > 0:
                ahead = max(0.0, min(wiped, now) + burst * interval - now)
        else:
            version, leases = state["version"], state["leases"]
            ahead = max(0.0, state["ahead"] - max(0.0, now - state["at"]))
            if (state["interval"], state["burst"]) != (interval, burst):
                used = ahead / state["interval"]
                beyond = max(0.0, used - state["burst"])
                ahead = ((used - beyond) * burst / state["burst"] + beyond) * interval
        own = leases.pop(instance, None)
        if own is not None:
            ahead += (spent if is_sure else own[0]) * interval
        elif is_sure:
            ahead += spent * interval
        for name, (units, ends) in list(leases.items()):
            if ends <= now or ends > now + 2 * lifetime:
                ahead += units * interval
                del leases[name]
        keeps = keeps if is_sure else 0.0
        held = sum(units for units, _ in leases.values())
        ahead = max(0.0, ahead + owes * interval)
        ahead = min(ahead, FOREVER_S)
        if seen > version:
            ahead = max(ahead, min(floor, burst * interval + max_wait))
        words = []
        for units in needs:
            wait = ahead + (max(0.0, held + keeps - SLACK * burst) + min(units, burst) - burst) * interval
            wait = 0.0 if wait <= interval * 1e-6 + 1e-6 else wait
            if wait <= max_wait:
                ahead = min(ahead + units * interval, FOREVER_S)
            words.append(f"{wait if wait <= max_wait else max_wait - wait - 1:.6f}")
        unused = burst - ahead / interval
        more = min(wants, (SLACK * burst + unused - held - keeps) / (2 + len(leases)),
                   SLACK * burst + unused / 2 - held - keeps)
        more = max(0.0, math.floor(more / least) * least)
        others = list(leases.values())
        if keeps + more > 0:
            leases[instance] = (keeps + more, now + lifetime)
        latest = max([ends - now for _, ends in others] + ([lifetime] if keeps + more > 0 else []), default=0.0)
        self.keys[key] = {"ahead": ahead, "version": version + 1, "at": now, "interval": interval, "burst": burst,
                          "leases": leases, "expires": now + latest + ahead + (held + keeps + more) * interval + 1}
        return f"{ahead:.9f} {version + 1} {held!r} {more!r} " + " ".join(words)


class MemoryStore:
    """A server as one instance sees it, over a network that may be slow, and lose questions or answers."""

    def __init__(self, server, name, *, timeout_s=0.02, delay=lambda: 0.0, instances=8):
        self.server, self.instance, self.prefix, self.timeout_s = server, name, "", timeout_s
        self.delay, self.instances, self.is_connected, self.epoch = delay, instances, True, server.epoch
        self.loses_questions = self.loses_answers = False
        self._followers = []

    def start(self):
        pass

    def follow(self, told):
        self._followers.append(told)

    def connect(self, is_connected):
        if is_connected != self.is_connected:
            self.is_connected = is_connected
            if is_connected:
                self.epoch = self.server.epoch
            for told in self._followers:
                told(is_connected)

    async def run(self, script, keys, arguments):
        assert script is BOOK
        if not self.is_connected:
            raise StoreUnavailableError
        there, back = self.delay(), self.delay()
        try:
            async with asyncio.timeout(self.timeout_s):
                await asyncio.sleep(there)
                if self.loses_questions:
                    await asyncio.sleep(1e6)
                answers = self.server.run(keys, arguments)
                await asyncio.sleep(back)
                if self.loses_answers:
                    await asyncio.sleep(1e6)
        except TimeoutError:
            self.connect(False)
            raise StoreUnavailableError from None
        return answers
