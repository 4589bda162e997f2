"""SQLAlchemy against real databases in files: verdicts, and units of work on worker threads."""

from __future__ import annotations

import inspect
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm

from resilience import CallTimeoutError, CircuitBreaker, Ending, Registry, Verdict, command
from resilience.integrations.sqlalchemy import FAILURES, judge, unit_of_work
from tests.drivers.until import until

NEVER = CircuitBreaker(min_calls=1000)
VERDICTS = ("success", "failure", "busy", "bad_request", "timeout", "semaphore_rejected")
metadata = sa.MetaData()
stock = sa.Table("stock", metadata, sa.Column("sku", sa.String, primary_key=True), sa.Column("n", sa.Integer))


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture
def engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=1, max_overflow=0, pool_timeout=0.01,
                              poolclass=sa.QueuePool)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine):
    return orm.sessionmaker(engine)


def counts(registry, key="stock"):
    found = registry[key].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


def test_errors_of_a_real_database_are_judged(engine, shared):
    @command(key="stock", failures=FAILURES, breaker=NEVER, registry=shared)
    def run(statement, *values):
        with engine.begin() as connection:
            return connection.execute(statement, *values)

    run(sa.insert(stock), {"sku": "apple", "n": 1})
    for error, statement in ((exc.IntegrityError, sa.insert(stock).values(sku="apple", n=2)),
                             (exc.StatementError, sa.insert(stock).values(sku="pear", n=object())),
                             (exc.ObjectNotExecutableError, "select 1")):
        with pytest.raises(error):
            run(statement)
    assert {"success": 1, "bad_request": 3} == counts(shared)
    with engine.connect(), pytest.raises(exc.TimeoutError):
        run(sa.select(stock))
    assert {"success": 1, "bad_request": 3, "semaphore_rejected": 1} == counts(shared)


def test_a_database_that_cannot_be_reached_is_a_failure(tmp_path, shared):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/no/such/folder/shop.db")

    @command(key="stock", failures=FAILURES, registry=shared)
    def run():
        with engine.begin() as connection:
            return connection.execute(sa.text("select 1"))

    with pytest.raises(exc.OperationalError):
        run()
    assert {"failure": 1} == counts(shared)


@pytest.mark.parametrize(("kind", "invalidated", "verdict"), [
    (exc.OperationalError, False, Verdict.FAILED), (exc.InterfaceError, False, Verdict.FAILED),
    (exc.InternalError, False, Verdict.FAILED), (exc.DatabaseError, False, Verdict.FAILED),
    (exc.DBAPIError, False, Verdict.FAILED), (exc.ProgrammingError, False, Verdict.CALLER_FAULT),
    (exc.DataError, False, Verdict.CALLER_FAULT), (exc.NotSupportedError, False, Verdict.CALLER_FAULT),
    (exc.ProgrammingError, True, Verdict.FAILED), (exc.DataError, True, Verdict.FAILED),
])
def test_every_class_of_drivers_errors_has_a_verdict_and_a_lost_connection_is_a_failure(kind, invalidated, verdict):
    error = kind("select 1", {}, Exception("said"), connection_invalidated=invalidated)
    assert verdict is judge(Ending(error=error))


def test_what_is_not_sqlalchemys_has_no_verdict_here():
    assert None is judge(Ending(error=ValueError("x")))
    assert None is judge(Ending(result=1))
    assert Verdict.CALLER_FAULT is judge(Ending(error=orm.exc.StaleDataError("stale")))
    assert Verdict.FAILED is judge(Ending(error=exc.DisconnectionError("gone")))


def test_a_unit_of_work_commits_on_the_thread_that_ran_it_and_rolls_back_what_raised(sessions, shared):
    threads = []

    @command(key="stock", timeout=30.0, failures=FAILURES, registry=shared)
    @unit_of_work(sessions)
    def book(session, sku, n=1):
        """Book."""
        threads.append(threading.current_thread())
        session.execute(sa.insert(stock).values(sku=sku, n=n))
        if n < 0:
            raise ValueError(n)
        return n

    assert (["sku", "n"], "Book.") == (list(inspect.signature(book).parameters), book.__doc__)
    assert 2 == book("apple", n=2)
    with pytest.raises(ValueError):
        book("pear", n=-1)
    assert threading.current_thread() not in threads
    with sessions() as session:
        assert ["apple"] == list(session.scalars(sa.select(stock.c.sku)))


def test_a_unit_of_work_whose_caller_gave_up_ends_by_itself_and_gives_its_connection_back(engine, sessions, shared):
    go, began = threading.Event(), threading.Event()

    @command(key="stock", timeout=0.05, registry=shared)
    @unit_of_work(sessions)
    def book(session, sku):
        began.set()
        session.execute(sa.insert(stock).values(sku=sku, n=1))
        go.wait(30)

    with pytest.raises(CallTimeoutError):
        book("apple")
    go.set()
    until(lambda: shared["stock"].snapshot().in_flight == 0 and shared["stock"].snapshot().abandoned == 0)
    assert 0 == engine.pool.checkedout()
    with sessions() as session:  # what a slow machine had not begun in time is not begun any more
        assert began.is_set() == session.scalar(sa.select(sa.func.count()).select_from(stock))


def test_each_attempt_of_a_retry_has_a_session_of_its_own(sessions, shared):
    from resilience import Retry

    seen = []

    @command(key="stock", timeout=None, retry=Retry(attempts=3, base=0.001, max_delay=0.001), registry=shared)
    @unit_of_work(sessions)
    def book(session):
        seen.append(session)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        book()
    assert 3 == len(set(map(id, seen))) == len(seen)


def test_what_runs_in_its_callers_task_is_refused(sessions):
    async def coroutine(session): ...

    def generator(session):
        yield

    async def async_generator(session):
        yield

    class Callable:
        async def __call__(self, session): ...

    for function in (coroutine, generator, async_generator, Callable()):
        with pytest.raises(TypeError):
            unit_of_work(sessions)(function)
