"""What an ASGI application does after its response has been sent, such as Starlette's background tasks, was under the
deadline of the request, for which nobody waited any more: its guarded calls were refused.
"""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from resilience import Bulkhead, deadline, remaining
from resilience.integrations.asgi import ResilienceMiddleware


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("limit", [None, Bulkhead(2)], ids=["no limit", "limit"])
def test_a_background_task_has_no_deadline_and_the_response_had_one(registry, is_streamed, limit):
    seen = []

    async def note():
        seen.append(remaining())

    async def parts():
        for part in ("a", "b"):
            seen.append(remaining() is not None)
            yield part

    async def answer(request):
        seen.append(remaining() is not None)
        task = BackgroundTask(note)
        return StreamingResponse(parts(), background=task) if is_streamed else PlainTextResponse("ab", background=task)

    app = Starlette(routes=[Route("/", answer)])
    app.add_middleware(ResilienceMiddleware, deadline=5.0, limit=limit, registry=registry)

    assert TestClient(app).get("/").text == "ab"
    assert seen[:-1] == [True] * (3 if is_streamed else 1)
    assert seen[-1] is None


def test_so_has_one_after_a_file_that_the_server_sends_by_itself(registry, tmp_path):
    file, seen, sent = tmp_path / "file", [], []
    file.write_text("ab")

    async def note():
        seen.append(remaining())

    async def send(message):
        sent.append(message["type"])

    async def app(scope, receive, send):
        await FileResponse(file, background=BackgroundTask(note))(scope, receive, send)

    asyncio.run(ResilienceMiddleware(app, deadline=5.0, registry=registry)(
        {"type": "http", "method": "GET", "path": "/", "headers": [], "extensions": {"http.response.pathsend": {}}},
        None, send))
    assert ["http.response.start", "http.response.pathsend"] == sent
    assert [None] == seen


def test_a_deadline_around_the_application_is_in_force_for_whoever_set_it(registry):
    async def hello(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def nothing(*_):
        pass

    async def scenario():
        with deadline(60.0):
            await asyncio.create_task(ResilienceMiddleware(hello, deadline=5.0, registry=registry)(
                {"type": "http", "method": "GET", "path": "/", "headers": []}, nothing, nothing))
            return remaining()

    assert asyncio.run(scenario()) > 50.0
