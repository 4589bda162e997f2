"""3,000 signals SIGHUP within two seconds were 3,000 reloads: the gateway was at it for ten minutes, a core busy.

A reload that has not begun reads whatever the file says when it does, so it is for everybody who has asked until then.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from resilience.gateway.reloads import Reloads
from resilience.gateway.supervision.supervisor import Supervisor

CONFIG = """
[services.up]
endpoints = ["http://127.0.0.1:{port}"]
[[routes]]
path = "/*"
service = "up"
"""


def test_many_who_ask_for_a_reload_get_one_and_the_last_content(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG.format(port=1))

    async def main() -> None:
        supervisor = Supervisor(file, workers=0)
        async with supervisor.fleet.lock:  # as another reload has it
            for port in range(2, 50):
                file.write_text(CONFIG.format(port=port))
                supervisor.reload_soon("the file")
                await asyncio.sleep(0)
        await asyncio.wait(supervisor._reloads.jobs)
        assert supervisor.reloads == {"applied": 1, "rejected": 0}
        assert supervisor.data["services"]["up"]["endpoints"] == ["http://127.0.0.1:49"]
        supervisor.reload_soon("the file")
        await asyncio.wait(supervisor._reloads.jobs)
        assert supervisor.reloads == {"applied": 2, "rejected": 0}

    asyncio.run(main())


def test_so_it_is_with_the_signals_that_a_registry_gets() -> None:
    """Both have the same queue of reloads; see discovery.registry.server."""
    async def main() -> None:
        begun = []
        may_end = asyncio.Event()

        async def reload() -> None:
            begun.append(None)
            await may_end.wait()

        reloads = Reloads(reload, asyncio.Lock())
        for _ in range(3000):
            reloads.soon("the registry's configuration")
            await asyncio.sleep(0)
        assert (1, 2) == (len(begun), len(reloads.jobs))
        may_end.set()
        await asyncio.gather(*reloads.jobs)
        assert 2 == len(begun)

    asyncio.run(main())
