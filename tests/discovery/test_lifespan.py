"""An ASGI application that is registered while it serves: message by message, on a real server, and with Starlette."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from resilience.discovery import InstanceStatus, Registrant, Registration, registered

from .recorded_eureka import RecordedEureka, serving
from .test_registration import NAME, Scripted, registration

ROOT = Path(__file__).parents[2]


class Server:
    """What an ASGI server does about the lifespan of one application."""

    def __init__(self, app: Any) -> None:
        self.says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.hears: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, self.says.get, self._hear))

    async def _hear(self, message: Any) -> None:
        await self.hears.put(message)

    async def heard(self) -> str:
        return f"{(await asyncio.wait_for(self.hears.get(), 60))['type']}"

    async def start(self) -> str:
        await self.says.put({"type": "lifespan.startup"})
        return await self.heard()

    async def stop(self) -> str:
        await self.says.put({"type": "lifespan.shutdown"})
        heard = await self.heard()
        await self.task
        return heard


async def test_it_is_starting_then_up_and_has_left_before_the_application_ends() -> None:
    registrar, seen = Scripted(), list[list[str]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert "lifespan.startup" == (await receive())["type"]
        await asyncio.to_thread(registrar.wait, 1)
        await send({"type": "lifespan.startup.complete"})
        assert "lifespan.shutdown" == (await receive())["type"]
        seen.append(list(registrar.asked))
        await send({"type": "lifespan.shutdown.complete"})

    server = Server(registered(app, registration(registrar)))
    assert "lifespan.startup.complete" == await server.start()
    await asyncio.to_thread(registrar.wait, 2)
    assert "lifespan.shutdown.complete" == await server.stop()
    assert [["register STARTING", "register UP", "register DOWN", "leave"]] == seen
    assert seen[0] == registrar.asked


async def test_requests_pass_through_untouched() -> None:
    seen: list[Any] = []

    async def app(*given: Any) -> None:
        seen.append(given)

    registrar = Scripted()
    given = {"type": "http"}, object(), object()
    await registered(app, registration(registrar))(*given)  # type: ignore[arg-type]
    assert ([given], []) == (seen, registrar.asked)


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return None


async def refusing_late(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise LookupError("it serves HTTP alone")


@pytest.mark.parametrize("app", [refusing, silent, refusing_late])
async def test_an_application_that_knows_no_lifespan_is_registered_all_the_same(app: Any) -> None:
    registrar = Scripted()
    server = Server(registered(app, registration(registrar, status=InstanceStatus.STARTING)))
    assert "lifespan.startup.complete" == await server.start()
    assert "register UP" == (await asyncio.to_thread(registrar.wait, 1))[-1] or await asyncio.to_thread(registrar.wait, 2)
    assert "lifespan.shutdown.complete" == await server.stop()
    assert "leave" == registrar.asked[-1]


async def test_an_application_whose_start_fails_leaves_and_its_server_hears_of_the_failure() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise OSError("no database")

    registrar = Scripted()
    server = Server(registered(app, registration(registrar)))
    assert "lifespan.startup.failed" == await server.start()
    with pytest.raises(OSError, match="no database"):
        await server.task
    assert ("leave", False) == (registrar.asked[-1], "register UP" in registrar.asked)


async def test_a_lifespan_that_its_server_cancels_leaves() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    registrar = Scripted()
    server = Server(registered(app, registration(registrar)))
    await server.start()
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert "leave" == registrar.asked[-1]


async def test_the_lifespan_of_a_starlette_application_stands_around_its_own() -> None:
    from starlette.applications import Starlette

    registrar, seen = Scripted(), list[str]()

    @contextlib.asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, Any]]:
        await asyncio.to_thread(registrar.wait, 1)
        seen.append(registrar.asked[-1])
        yield {"answer": 42}
        seen.append(registrar.asked[-1])

    server = Server(Starlette(lifespan=registration(registrar).lifespan(own)))
    assert "lifespan.startup.complete" == await server.start()
    await asyncio.to_thread(registrar.wait, 2)
    assert "lifespan.shutdown.complete" == await server.stop()
    assert ["register STARTING", "leave"] == seen

    registrar = Scripted()
    server = Server(Starlette(lifespan=registration(registrar).lifespan()))
    await server.start()
    await server.stop()
    assert "leave" == registrar.asked[-1]


@pytest.mark.process
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_on_uvicorn_is_registered_and_leaves_when_it_is_stopped_and_not_when_it_is_killed(
        end: signal.Signals, tmp_path: Path) -> None:
    with serving(RecordedEureka()) as eureka:
        (tmp_path / "shop.py").write_text(f"""
from starlette.applications import Starlette
from resilience.discovery import Registrant, Registration, registered
app = registered(Starlette(), Registration(Registrant("orders", "10.0.0.1", 8080), {eureka.url!r}))
""")
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--port", "0", "--app-dir", f"{tmp_path}", "--log-level", "error", "shop:app"], cwd=ROOT)
        try:
            eureka.wait(lambda: eureka.statuses() == {NAME: "UP"})
            process.send_signal(end)
            process.wait(60)
            assert eureka.statuses() == ({} if end == signal.SIGTERM else {NAME: "UP"})
        finally:
            process.kill()
            process.wait(60)


def test_a_registration_is_repeated_as_what_it_is() -> None:
    mine = Registration(Registrant("orders", "::1", 80), "http://user:secret@localhost:8761/eureka")
    assert "<registration of ::1:orders:80 with Eureka at http://localhost:8761/eureka: not started>" == repr(mine)
    assert "http://[::1]:80" == mine.registrant.url
