"""A Eureka server for tests, which answers as recorded from a Spring Cloud Netflix server, and takes nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

#: The order does not matter to JSON; that each is there, and of which type, does to Java.
NEEDED: dict[str, type] = {
    "instanceId": str, "hostName": str, "app": str, "ipAddr": str, "status": str, "overriddenStatus": str, "port": dict,
    "securePort": dict, "countryId": int, "dataCenterInfo": dict, "leaseInfo": dict, "metadata": dict, "homePageUrl": str,
    "vipAddress": str, "secureVipAddress": str, "isCoordinatingDiscoveryServer": str, "lastUpdatedTimestamp": str,
    "lastDirtyTimestamp": str}
STATUSES = ("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN")


class RecordedEureka:
    """The server's state; ``is_away`` has it answer 503."""

    def __init__(self) -> None:
        self.instances: dict[tuple[str, str], dict[str, Any]] = {}
        self.changes: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        self.is_away = False
        self.version = 1
        self.changed = threading.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/eureka"

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        """Status, and what is answered as JSON; None: nothing."""
        parts = urlsplit(target)
        path = [unquote(each) for each in parts.path.removeprefix("/eureka").strip("/").split("/")]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.is_away:
            return 503, None
        match method, path:
            case "POST", ["apps", app]:
                return self._register(app, body), None
            case "PUT", ["apps", app, name] if {"status", "lastDirtyTimestamp"} == set(query):
                known = self.instances.get((app, name))
                if known is None or int(query["lastDirtyTimestamp"]) > int(known["lastDirtyTimestamp"]):
                    return 404, None
                return 200, None
            case "DELETE", ["apps", app, name]:
                gone = self.instances.pop((app, name), None)
                if gone is None:
                    return 404, None
                self.changes.append((app, {**gone, "actionType": "DELETED"}))
                return 200, None
            case "GET", ["apps"]:
                return 200, self._said([(app, each) for (app, _), each in self.instances.items()])
            case "GET", ["apps", "delta"]:
                self.version += 1
                return 200, self._said(self.changes)
        return 405, {"error": f"{method} {target}"}

    def _register(self, app: str, body: bytes) -> int:
        said = json.loads(body)["instance"]
        if app != app.upper() or said["app"] != app or said["status"] not in STATUSES or any(
                not isinstance(said.get(name), kind) for name, kind in NEEDED.items()):
            return 400
        if said["dataCenterInfo"]["name"] != "MyOwn" or "@class" not in said["dataCenterInfo"]:
            return 400
        if any(not isinstance(each, str) for pair in said["metadata"].items() for each in pair):
            return 400
        for port in (said["port"], said["securePort"]):
            if not isinstance(port["$"], int) or port["@enabled"] not in ("true", "false"):
                return 400
        if any(not isinstance(said["leaseInfo"][name], int) for name in ("renewalIntervalInSecs", "durationInSecs")):
            return 400
        key = app, said["instanceId"]
        known = self.instances.get(key)
        if known is not None and int(known["lastDirtyTimestamp"]) > int(said["lastDirtyTimestamp"]):
            return 204  # keeps what it has
        said["actionType"] = "ADDED" if known is None else "MODIFIED"
        self.instances[key] = said
        self.changes.append((app, said))
        return 204

    def _said(self, items: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for each in self.instances.values():
            counts[each["status"]] = counts.get(each["status"], 0) + 1
        apps: dict[str, list[dict[str, Any]]] = {}
        for app, each in items:
            apps.setdefault(app, []).append(each)
        return {"applications": {"versions__delta": f"{self.version}",
                                 "apps__hashcode": "".join(f"{status}_{counts[status]}_" for status in sorted(counts)),
                                 "application": [{"name": app, "instance": each} for app, each in apps.items()]}}

    def statuses(self) -> dict[str, str]:
        """Status of each instance, by its ID."""
        with self.changed:
            return {name: each["status"] for (_, name), each in self.instances.items()}

    def forget(self) -> None:
        """Be as after a restart."""
        with self.changed:
            self.instances.clear()
            self.changes.clear()

    def verbs(self) -> list[str]:
        """What was asked so far, without queries."""
        with self.changed:
            return [each.partition("?")[0] for each in self.asked]

    def wait(self, is_so: Any) -> None:
        """Wait until *is_so*, looked at after each request."""
        with self.changed:
            assert self.changed.wait_for(is_so, 60), self.asked


@contextmanager
def serving(eureka: RecordedEureka) -> Iterator[RecordedEureka]:
    """Have it listen on loopback."""
    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with eureka.changed:
                eureka.asked.append(f"{self.command} {self.path}")
                eureka.authorizations.add(self.headers.get("Authorization"))
                status, said = eureka.answer(self.command, self.path, body)
                eureka.changed.notify_all()
            content = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", f"{len(content)}")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - as http.server looks for them

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        eureka.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield eureka
        finally:
            server.shutdown()
            thread.join()
