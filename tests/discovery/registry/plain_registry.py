"""A plain, slow registry: what the protocol says, word for word, on dictionaries and a list of everything that happened."""

from __future__ import annotations

import json
from collections import Counter

import attrs

from resilience.discovery.registry.entry import Form
from resilience.discovery.registry.instance import Instance
from resilience.discovery.registry.moment import Moment

TRAFFIC = ("UP", "OUT_OF_SERVICE")
EPOCH_MS = 1_700_000_000_000


def moment(s):
    """The time *s* seconds after the beginning."""
    return Moment(s, EPOCH_MS + int(s * 1000))


def instance(app="SHOP", identity="a", **more):
    """An instance, with a timestamp of the beginning."""
    return Instance(**{"app": app, "id": identity, "host_name": f"{identity}.internal", "ip_addr": "10.0.0.1",
                       "dirty_ms": EPOCH_MS, **more})


class PlainRegistry:
    """Does what an InstanceRegistry should do, and looks everything up in its history."""

    def __init__(self, *, threshold=0.85, interval=30.0, preservation=True, eviction_interval=60.0):
        self.listed = {}
        self.graves = {}
        self.renewals = []
        self.expected = 0
        self.threshold, self.interval, self.preservation = threshold, interval, preservation
        self.next_eviction, self.evicted_at, self.eviction_interval = eviction_interval, 0.0, eviction_interval

    def status(self, said, override, existing):
        if said not in TRAFFIC:
            return said
        if override is not None:
            return override
        if existing is not None and existing["status"] in TRAFFIC:
            return existing["status"]
        return said

    def register(self, said, now):
        key = said.app, said.id
        old = self.listed.get(key)
        grave = self.graves.get(key)
        if old is None and grave is not None and grave["until"] > now and said.dirty_ms <= grave["clock_ms"]:
            return False
        if old is None:
            self.expected += 1
        arrived, duration = now, said.duration_s
        if old is not None and old["said"].dirty_ms > said.dirty_ms and old["said"].dirty_ms <= moment(now).unix_ms:
            said, arrived = attrs.evolve(old["said"], status=old["status"], overridden_status="UNKNOWN"), old["arrived"]
            duration = old["duration"]
        override = None if old is None else old["override"]
        if override is None and said.overridden_status != "UNKNOWN":
            override = said.overridden_status
        self.listed[key] = {"said": said, "status": self.status(said.status, override, old), "override": override,
                            "last": now, "duration": duration, "arrived": arrived}
        return True

    def renew(self, key, now):
        found = self.listed.get(key)
        if found is None:
            return False
        status = self.status(found["status"], found["override"], found)
        if status == "UNKNOWN":
            return False
        found["status"], found["last"] = status, now
        self.renewals.append(now)
        return True

    def cancel(self, key, now):
        found = self.listed.pop(key, None)
        if found is None:
            return False
        self.expected = max(0, self.expected - 1)
        self.graves[key] = {"until": now + found["duration"],
                            "clock_ms": found["said"].dirty_ms + int((now - found["arrived"]) * 1000)}
        return True

    def override(self, key, status, now):
        found = self.listed.get(key)
        if found is not None:
            found["last"] = now
            if found["status"] != status:
                found["status"] = found["override"] = status
        return found is not None

    def remove_override(self, key, status, now):
        found = self.listed.get(key)
        if found is not None:
            found["last"] = now
            if found["override"] is not None:
                found["status"], found["override"] = status, None
        return found is not None

    def update_metadata(self, key, pairs, now):
        found = self.listed.get(key)
        if found is not None:
            found["last"] = now
            found["said"] = attrs.evolve(found["said"], metadata={**found["said"].metadata, **pairs})
        return found is not None

    def rate(self, now):
        return sum(int(now) - 60 <= int(each) < int(now) for each in self.renewals)

    def may_evict(self, now):
        limit = int(self.expected * (60.0 / self.interval) * self.threshold)
        return not self.preservation or (limit > 0 and self.rate(now) > limit)

    def candidates(self, now):
        """Who may be evicted now, and how many of them; called when an eviction is due."""
        delay = max(0.0, now - self.evicted_at - self.eviction_interval)
        over = {key for key, each in self.listed.items() if each["last"] + each["duration"] + delay < now}
        most = len(self.listed) - int(len(self.listed) * self.threshold) if self.may_evict(now) else 0
        self.evicted_at, self.next_eviction = now, now + self.eviction_interval
        return over, min(len(over), most)

    def evict(self, keys):
        for key in keys:
            del self.listed[key]
            self.expected = max(0, self.expected - 1)

    @property
    def hashcode(self):
        counts = Counter(each["status"] for each in self.listed.values())
        return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


class PlainClient:
    """A client that fetches deltas, and everything when the hash does not fit; counts how often that was."""

    def __init__(self):
        self.instances = None
        self.full_fetches = 0

    def follow(self, documents, snapshot):
        if self.instances is not None:
            delta = json.loads(documents.delta(snapshot, Form.JSON).plain)["applications"]
            for application in delta["application"]:
                for each in application["instance"]:
                    key = each["app"], each["instanceId"]
                    if each["actionType"] == "DELETED":
                        self.instances.pop(key, None)
                    else:
                        self.instances[key] = each
            if self.hashcode == delta["apps__hashcode"]:
                return
        self.full_fetches += 1
        self.instances = read(documents.full(snapshot, Form.JSON).plain)

    @property
    def hashcode(self):
        counts = Counter(each["status"] for each in self.instances.values())
        return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


def read(text):
    """The instances of a full list, by application and id."""
    return {(each["app"], each["instanceId"]): each
            for application in json.loads(text)["applications"]["application"] for each in application["instance"]}
