"""What a Eureka server answers: as recorded from a real one, and as a model that changes."""

from __future__ import annotations

import json
import random
from typing import Any

from resilience.discovery import EurekaAnswer

#: Of a Spring Cloud Netflix server, with the fields that its Java clients send.
RECORDED: dict[str, Any] = {"applications": {"versions__delta": "1", "apps__hashcode": "DOWN_1_UP_3_", "application": [
    {"name": "ORDERS", "instance": [
        {"instanceId": "orders-1:orders:8080", "hostName": "orders-1.internal", "app": "ORDERS", "ipAddr": "10.0.0.1",
         "status": "UP", "overriddenStatus": "UNKNOWN", "port": {"$": 8080, "@enabled": "true"},
         "securePort": {"$": 8443, "@enabled": "true"}, "countryId": 1,
         "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
         "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": 1764400000000,
                       "lastRenewalTimestamp": 1764400120000, "evictionTimestamp": 0, "serviceUpTimestamp": 1764400000000},
         "metadata": {"zone": "b", "weight": "2", "management.port": "8080"}, "homePageUrl": "http://orders-1.internal:8080/",
         "statusPageUrl": "http://orders-1.internal:8080/actuator/info", "vipAddress": "orders", "secureVipAddress": "orders",
         "healthCheckUrl": "http://orders-1.internal:8080/actuator/health", "isCoordinatingDiscoveryServer": "false",
         "lastUpdatedTimestamp": "1764400000100", "lastDirtyTimestamp": "1764400000000", "actionType": "ADDED"},
        {"instanceId": "i-0fe1", "hostName": "ip-10-0-0-2.ec2.internal", "app": "ORDERS", "ipAddr": "10.0.0.2", "status": "UP",
         "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"}, "countryId": 1,
         "dataCenterInfo": {"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon",
                            "metadata": {"availability-zone": "us-east-1c", "instance-id": "i-0fe1", "local-ipv4": "10.0.0.2"}},
         "metadata": {"@class": "java.util.Collections$EmptyMap"}, "actionType": "ADDED"},
        {"instanceId": "orders-3", "hostName": "orders-3.internal", "app": "ORDERS", "ipAddr": "10.0.0.3", "status": "DOWN",
         "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
         "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}, "metadata": {}}]},
    {"name": "BILLING", "instance": [
        {"instanceId": "billing-1", "hostName": "billing-1", "app": "BILLING", "ipAddr": "10.0.1.1", "status": "UP",
         "port": {"$": 80, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"}, "metadata": {}}]}]}}


class ModelServer:
    """A server that clients of Eureka take for one. What has changed stays in its delta for a while."""

    def __init__(self, rng: random.Random, name: str = "one") -> None:
        self.rng, self.name, self.asked = rng, name, list[str]()
        self.instances: dict[tuple[str, str], dict[str, Any]] = {}
        self.changes: list[tuple[tuple[str, str], dict[str, Any]]] = []
        self.version = 0
        self.has_deltas = True

    def change(self) -> None:
        """Somebody registers, changes status, or leaves."""
        key = self.rng.choice(["ORDERS", "BILLING"]), f"id-{self.rng.randrange(12)}"
        if key in self.instances and self.rng.random() < 0.4:
            self.remove(key)
        else:
            self.put(key, self.rng.choice(["UP", "UP", "DOWN", "OUT_OF_SERVICE", "STARTING"]))

    def remove(self, key: tuple[str, str]) -> None:
        """An instance leaves."""
        self.changes.append((key, {**self.instances.pop(key), "actionType": "DELETED"}))

    def put(self, key: tuple[str, str], status: str) -> None:
        """An instance is there, with this status."""
        action = "MODIFIED" if key in self.instances else "ADDED"
        number = int(key[1][3:]) + 1
        self.instances[key] = {
            "instanceId": key[1], "hostName": f"{key[1]}.example", "app": key[0], "ipAddr": f"10.0.0.{number}",
            "status": status,
            "port": {"$": self.rng.choice([8080, 9090]), "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "metadata": {}, "actionType": action}
        self.changes.append((key, self.instances[key]))

    def purge(self) -> None:
        """The oldest changes are no longer told."""
        del self.changes[:self.rng.randrange(len(self.changes) + 1)]

    @property
    def hash(self) -> str:
        counts: dict[str, int] = {}
        for each in self.instances.values():
            counts[each["status"]] = counts.get(each["status"], 0) + 1
        return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))

    def up(self, app: str) -> set[str]:
        """Where the instances of an application are that are UP."""
        return {f"http://{each['ipAddr']}:{each['port']['$']}" for (name, _), each in self.instances.items()
                if name == app and each["status"] == "UP"}

    async def get(self, path: str, _: Any = ()) -> EurekaAnswer:
        self.asked.append(path)
        if path == "/apps/delta":
            self.version += 1
            return self._answer(list(self.changes)) if self.has_deltas else EurekaAnswer(403, b"", self.name)
        if path == "/apps":
            return self._answer(list(self.instances.items()))
        app = path.rpartition("/")[2]
        found = [each for (name, _), each in self.instances.items() if name == app]
        return EurekaAnswer(200, json.dumps({"application": {"name": app, "instance": found}}).encode(), self.name) if found \
            else EurekaAnswer(404, b"", self.name)

    def _answer(self, items: list[tuple[tuple[str, str], dict[str, Any]]]) -> EurekaAnswer:
        apps: dict[str, list[dict[str, Any]]] = {}
        for (app, _), each in items:
            apps.setdefault(app, []).append(each)
        said = {"applications": {"versions__delta": f"{self.version}", "apps__hashcode": self.hash,
                                 "application": [{"name": name, "instance": each} for name, each in apps.items()]}}
        return EurekaAnswer(200, json.dumps(said).encode(), self.name)
