"""SQLAlchemy with a real PostgreSQL, over psycopg and over asyncpg: what each says of a statement, and of the server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
import sqlalchemy.exc
import sqlalchemy.ext.asyncio

from resilience import CallTimeoutError, Registry, command
from resilience.integrations.sqlalchemy import FAILURES
from tests.drivers.until import until

VERDICTS = ("success", "failure", "bad_request", "timeout", "semaphore_rejected")
#: (statements, verdict)
CASES = [
    (("select 1",), "success"), (("select 1/0",), "bad_request"), (("selec",), "bad_request"), (("select * from nothing",), "bad_request"),
    (("select x from (values (1)) as t (x) where x = 'a'",), "bad_request"),
    (("create temporary table stock (sku text unique)", "insert into stock values ('apple'), ('apple')"), "bad_request"),
    (("set statement_timeout = 5", "select pg_sleep(60)"), "failure"), (("select pg_terminate_backend(pg_backend_pid())",), "failure")]


@pytest.fixture(scope="module")
def postgres():
    """A real server on a socket in a folder of its own: the folder, and the process. It refuses to run as root."""
    binaries = Path(shutil.which("postgres")).resolve().parent
    who = {"user": "postgres"} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:
        if who:
            shutil.chown(folder, "postgres")
        data, status = ["-D", f"{folder}/data"], Path(folder, "data", "postmaster.pid")
        subprocess.run([binaries / "initdb", *data, "--auth=trust", "--username=postgres", "--no-sync"], check=True,
                       stdout=subprocess.DEVNULL, cwd=folder, **who)
        process = subprocess.Popen([binaries / "postgres", *data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                                   stderr=subprocess.DEVNULL, cwd=folder, **who)
        try:
            until(lambda: status.exists() and "ready" in status.read_text())
            yield folder, process
        finally:
            process.kill()
            process.wait(10)


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


def url(driver, folder):
    return f"postgresql+{driver}://postgres@/postgres?host={folder}"


def counts(registry):
    found = registry["database"].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


@pytest.mark.parametrize(("statements", "verdict"), CASES, ids=[statements[-1] for statements, _ in CASES])
def test_what_psycopg_raises_has_its_verdict(postgres, shared, statements, verdict):
    engine = sa.create_engine(url("psycopg", postgres[0]), poolclass=sa.pool.NullPool)

    @command(key="database", registry=shared, timeout=None, failures=FAILURES)
    def run():
        with engine.connect() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    try:
        run()
    except sa.exc.SQLAlchemyError:
        pass
    assert counts(shared) == {verdict: 1}


@pytest.mark.parametrize(("statements", "verdict"), CASES, ids=[statements[-1] for statements, _ in CASES])
async def test_what_asyncpg_raises_has_the_same(postgres, shared, statements, verdict):
    engine = sa.ext.asyncio.create_async_engine(url("asyncpg", postgres[0]), poolclass=sa.pool.NullPool)

    @command(key="database", registry=shared, timeout=None, failures=FAILURES)
    async def run():
        async with engine.connect() as connection:
            for each in statements:
                await connection.execute(sa.text(each))

    try:
        await run()
    except sa.exc.SQLAlchemyError:
        pass
    assert counts(shared) == {verdict: 1}
    await engine.dispose()


async def test_a_timeout_in_the_wait_for_the_own_pool_says_nothing_of_the_server(postgres, shared):
    engine = sa.ext.asyncio.create_async_engine(url("asyncpg", postgres[0]), pool_size=1, max_overflow=0)

    @command(key="database", registry=shared, timeout=0.05, failures=FAILURES)
    async def connected():
        async with engine.connect():
            pass

    async with engine.connect():
        with pytest.raises(CallTimeoutError):
            await connected()
    assert counts(shared) == {"semaphore_rejected": 1}
    await engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_server_that_is_not_there_is_a_failure(shared, tmp_path, driver):
    is_async = driver == "asyncpg"
    engine = (sa.ext.asyncio.create_async_engine if is_async else sa.create_engine)(url(driver, tmp_path))

    async def connected():
        async with engine.connect():
            pass

    guarded = command(key="database", registry=shared, timeout=None, failures=FAILURES)(connected if is_async else engine.connect)
    with pytest.raises((OSError, sa.exc.OperationalError)):
        if is_async:
            await guarded()
        else:
            guarded()
    assert counts(shared) == {"failure": 1}
