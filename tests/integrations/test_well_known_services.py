"""Entries of [guards] for clients of databases and of language models, each against the real library: verdicts, raise_as."""

from __future__ import annotations

import asyncio

import anthropic
import openai
import pytest
import sqlalchemy
import sqlalchemy.exc
import sqlalchemy.orm

from resilience import CircuitOpenError, Registry
from resilience.config import configure
from tests.integrations.test_llm import complete, create, refused

VERDICTS = ("success", "failure", "busy", "bad_request", "timeout", "semaphore_rejected")
LLM = {"openai:OpenAI.request": (openai.OpenAI, complete), "openai:AsyncOpenAI.request": (openai.AsyncOpenAI, complete),
       "anthropic:Anthropic.request": (anthropic.Anthropic, create), "anthropic:AsyncAnthropic.request": (anthropic.AsyncAnthropic, create)}
ANSWERS = [
    ((200, {}, b"{}"), "success"), (refused(500, {"type": "api_error"}), "failure"), (refused(408, {"type": "timeout_error"}), "failure"),
    (refused(429, {"type": "rate_limit_error"}), "busy"), (refused(529, {"type": "overloaded_error"}), "busy"), (None, "failure"),
    (refused(429, {"type": "insufficient_quota", "code": "insufficient_quota"}), "bad_request"),
    (refused(404, {"type": "not_found_error"}), "bad_request")]


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


def counts(handle):
    found = handle.snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


def asked(kind, call, url):
    """What a client says, or raises."""
    async def awaited():
        async with kind(api_key="key", base_url=url, max_retries=0) as client:
            return await call(client)

    try:
        if kind.__name__.startswith("Async"):
            return asyncio.run(awaited())
        with kind(api_key="key", base_url=url, max_retries=0) as client:
            return call(client)
    except Exception as error:
        return error


@pytest.mark.parametrize("target", LLM)
def test_what_a_language_model_says_has_its_verdict(target, answering, shared, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    kind, call = LLM[target]
    raise_as = f"{target.partition(':')[0]}:APIConnectionError"
    entry = {"timeout": False, "breaker": {"min_calls": 1000}, "raise_as": raise_as}
    configuration = configure({"guards": {target: entry}}, registry=shared, environ={})
    expected = dict.fromkeys(VERDICTS, 0)
    for answer, verdict in ANSWERS:
        answering.answers[:] = [answer]
        asked(kind, call, answering.url)
        expected[verdict] += 1
        assert counts(shared[target]) == {name: n for name, n in expected.items() if n}, answer
    shared[target].force_open()
    error = asked(kind, call, answering.url)
    assert isinstance(error, CircuitOpenError)
    assert isinstance(error, openai.APIConnectionError if "openai" in target else anthropic.APIConnectionError)
    configuration.close()


def test_what_a_database_says_has_its_verdict(shared, tmp_path):
    connect, execute = "sqlalchemy.engine:Engine.connect", "sqlalchemy.engine:Connection.execute"
    raise_as = "sqlalchemy.exc:SQLAlchemyError"
    configuration = configure({"guards": {each: {"breaker": {"min_calls": 1000}, "raise_as": raise_as} for each in (connect, execute)}},
                              registry=shared, environ={})
    missing = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'no' / 'shop.db'}")
    with pytest.raises(sqlalchemy.exc.OperationalError):
        missing.connect()
    assert counts(shared[connect]) == {"failure": 1}
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", pool_size=1, max_overflow=0, pool_timeout=0.001)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("create table stock (sku text unique)"))
        connection.execute(sqlalchemy.text("insert into stock values ('apple')"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(sqlalchemy.text("insert into stock values ('apple')"))
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.execute(sqlalchemy.text("select * from nothing"))
        with pytest.raises(sqlalchemy.exc.TimeoutError):
            engine.connect()
    assert counts(shared[execute]) == {"success": 2, "bad_request": 1, "failure": 1}
    assert counts(shared[connect]) == {"success": 1, "failure": 1, "semaphore_rejected": 1}
    shared[execute].force_open()
    with sqlalchemy.orm.Session(engine) as session, pytest.raises(sqlalchemy.exc.SQLAlchemyError) as caught:
        session.scalars(sqlalchemy.text("select 1"))
    assert isinstance(caught.value, CircuitOpenError)
    engine.dispose()
    missing.dispose()
    configuration.close()
