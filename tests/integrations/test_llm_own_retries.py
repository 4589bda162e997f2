"""The retry of a command above an openai client that is not guarded, which repeats twice by itself, made six requests.

Nothing said so: the command counts its own attempts alone. Both clients say in each request how often it was sent.
"""

from __future__ import annotations

import asyncio
import logging

import anthropic
import openai
import pytest

from resilience import Registry, Retry, command
from resilience.integrations import llm
from resilience.integrations.llm import FAILURES, guard_client
from tests.integrations.test_llm import complete, create, refused

SOON = {"retry-after-ms": "1"}


@pytest.fixture(autouse=True)
def usual(answering, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(llm, "_MULTIPLIED", set())
    answering.answers += [refused(500, {"type": "server_error"}, **SOON)] * 24


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def chat(ask, **settings):
    settings = {"retry": Retry(attempts=2, base=0, busy_base=0, budget=None), **settings}
    return command(key="chat", registry=Registry(), timeout=None, failures=FAILURES, **settings)(ask)


@pytest.mark.parametrize(("module", "ask"), [(openai.OpenAI, complete), (anthropic.Anthropic, create)])
def test_a_client_whose_retries_multiply_with_ours_is_told_of_once(answering, caplog, module, ask):
    with module(api_key="key", base_url=answering.url, max_retries=1) as client:
        call = chat(lambda: ask(client))
        for _ in range(2):
            with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
                call()
    assert 8 == len(answering.requests)
    assert ["chat: its retry and the client's own multiply: within one attempt the client sent a request 2 times; give "
            "the client to guard_client of resilience.integrations.llm, or make it with max_retries=0"] == told(caplog)


def test_so_is_an_asynchronous_one(answering, caplog):
    async def main():
        async with openai.AsyncOpenAI(api_key="key", base_url=answering.url, max_retries=1) as client:
            async def ask():
                return await complete(client)

            with pytest.raises(openai.InternalServerError):
                await chat(ask)()

    asyncio.run(main())
    assert 1 == len(told(caplog))


def test_nothing_is_told_of_a_guarded_client_or_of_a_command_without_a_retry(answering, caplog):
    with guard_client(openai.OpenAI(api_key="key", base_url=answering.url), registry=Registry()) as client:
        with pytest.raises(openai.InternalServerError):
            chat(lambda: complete(client))()
    with openai.OpenAI(api_key="key", base_url=answering.url, max_retries=1) as client:
        with pytest.raises(openai.InternalServerError):
            chat(lambda: complete(client), retry=None)()
    assert 2 + 2 == len(answering.requests)
    assert [] == told(caplog)
