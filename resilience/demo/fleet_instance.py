"""One instance of the fleet's service: the demo's service, which registers itself for as long as it runs.

Run as ``python -m resilience.demo.fleet_instance NAME REGISTRY_PORT``. It prints its port, obeys what the demo's
service obeys, and leaves the registry when its standard input closes or SIGTERM comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from ..discovery import Registrant, Registration
from .fleet_script import LEASE_S
from .service import Service

#: Gateways ask the registry twice a second; until they have, they send requests.
_DRAIN_S = 1.0


async def _main(name: str, registry_port: int) -> None:
    stop, loop, service = asyncio.Event(), asyncio.get_running_loop(), Service(name)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    port = await service.listen(0)
    print(port, flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    ended = asyncio.ensure_future(orders.read())
    stopped = asyncio.ensure_future(stop.wait())
    registration = Registration(
        Registrant("inventory", "127.0.0.1", port, instance_id=name), f"http://127.0.0.1:{registry_port}/eureka",
        lease=LEASE_S, timeout=1.0, leave_timeout=1.0)
    registration.start()
    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    await registration.leave_async()
    if not ended.done():
        await asyncio.wait((ended,), timeout=_DRAIN_S)
    for each in (ended, stopped):
        each.cancel()
    service.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
