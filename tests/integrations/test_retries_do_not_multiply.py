"""Three layers of retries around a real client of a server that always fails: as many requests as the outermost says."""

import asyncio

import httpx
import openai
import pytest

from resilience import Registry, Retry, command, retry
from resilience.integrations.httpx import ResilienceTransport
from resilience.integrations.llm import FAILURES, guard_client
from tests.integrations.test_llm import complete, refused


def layers(innermost, registry, *, is_async=False):
    """*innermost* in three commands, of 4, 3 and 2 attempts."""
    call = command(key="client", registry=registry, timeout=None, failures=FAILURES,
                   retry=Retry(attempts=4, base=0, busy_base=0, budget=None))(innermost)
    for key, attempts in (("agent", 3), ("job", 2)):
        below = call
        if is_async:
            async def step(below=below):
                return await below()
        else:
            def step(below=below):
                return below()
        call = retry(attempts=attempts, base=0, budget=None, key=key, registry=registry)(step)
    return call


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


def test_the_real_openai_client_in_three_layers_makes_as_many_requests_as_the_outermost_says(answering, monkeypatch, shared):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answering.answers += [refused(500, {"type": "server_error"})] * 24
    with guard_client(openai.OpenAI(api_key="key", base_url=answering.url), registry=shared) as client:
        call = layers(lambda: complete(client), shared)
        with pytest.raises(openai.InternalServerError) as caught:
            call()
    assert 2 == len(answering.requests)
    assert "client: left to the retry of job, which decides whether to repeat this call" in caught.value.__notes__


def test_the_asynchronous_one_does_so_in_tasks_that_the_layers_start(answering, monkeypatch, shared):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answering.answers += [refused(500, {"type": "server_error"})] * 24

    async def main():
        async with guard_client(openai.AsyncOpenAI(api_key="key", base_url=answering.url), registry=shared) as client:
            async def in_a_task():
                return await asyncio.create_task(complete(client))

            with pytest.raises(openai.InternalServerError):
                await layers(in_a_task, shared, is_async=True)()

    asyncio.run(main())
    assert 2 == len(answering.requests)


def test_the_retry_of_a_transport_leaves_the_repetition_to_the_function_around_it(answering, monkeypatch, shared):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answering.answers += [refused(500, {})] * 24
    transport = ResilienceTransport(registry=shared, retry=Retry(attempts=4, base=0, budget=None))
    with httpx.Client(transport=transport) as client:
        @retry(attempts=2, base=0, budget=None, on_result=lambda answer: answer.status_code == 500, key="job", registry=shared)
        def call():
            return client.get(answering.url)

        assert 500 == call().status_code
        assert 2 == len(answering.requests)
        assert 500 == client.get(answering.url).status_code  # on its own it repeats
    assert 2 + 4 == len(answering.requests)
