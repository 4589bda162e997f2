"""An instance of a service: an HTTP server that registers itself, renews its lease, and leaves when it is told to end.

Run as ``python service.py NAME APPLICATION ADDRESS REGISTRY...``: a program of its own, which knows nothing of the
library. It answers every request with its NAME after the milliseconds that the query says (``?ms=50``), and POST with
how often it has seen the path, so that a request that was done twice shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter

PORT = 9000
RENEW_S = 0.5
LEASE_S = 3
_ANSWER_S = 1.0


class Registration:
    """One instance in all the registries that it can reach."""

    def __init__(self, name: str, application: str, address: str, registries: list[str]) -> None:
        self.application, self.registries, self.path = application, registries, f"/eureka/apps/{application}"
        self.id = f"{address}:{name}:{PORT}"
        self.body = json.dumps({"instance": {
            "instanceId": self.id, "app": application, "hostName": address, "ipAddr": address, "status": "UP",
            "port": {"$": PORT, "@enabled": "true"}, "lastDirtyTimestamp": str(int(time.time() * 1000)),
            "leaseInfo": {"renewalIntervalInSecs": 1, "durationInSecs": LEASE_S},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}}})

    async def keep(self) -> None:
        """Renew for ever; register where nobody knows it."""
        while True:
            for registry in self.registries:
                with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError):
                    if await ask(registry, "PUT", f"{self.path}/{self.id}?status=UP") == 404:
                        await ask(registry, "POST", self.path, self.body)
                    break  # the registries tell each other
            await asyncio.sleep(RENEW_S)

    async def leave(self) -> None:
        for registry in self.registries:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError):
                await ask(registry, "DELETE", f"{self.path}/{self.id}")
                return


async def ask(registry: str, method: str, path: str, body: str = "") -> int:
    """Send one request; the status."""
    host, _, port = registry.partition(":")
    async with asyncio.timeout(_ANSWER_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {registry}\r\nConnection: close\r\n"
                         f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            return int((await reader.readuntil(b"\r\n")).split(b" ")[1])
        finally:
            writer.close()


class Service:
    """Answers."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, Counter[str]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.split(" ", 2)
                length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length:")), ":0")
                await reader.readexactly(int(length.partition(":")[2]))
                path, _, query = target.partition("?")
                self.seen[path] += method == "POST"
                await asyncio.sleep(int(query.removeprefix("ms=") or 0) / 1000)
                body = f"{self.name} {self.seen[path]}"
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def main(name: str, application: str, address: str, registries: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(Service(name).serve, address, PORT, backlog=1024)
    registration = Registration(name, application, address, registries)
    keeping = asyncio.ensure_future(registration.keep())
    print("listens", flush=True)
    await stop.wait()
    keeping.cancel()
    await registration.leave()
    await asyncio.sleep(1.5)  # those who have the list from before may ask for a while
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
