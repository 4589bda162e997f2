"""SQLAlchemy: what a statement amounts to, and sessions for functions that a guard moves to a worker thread.

SQLAlchemy wraps what the driver raises by the driver's own word for it, and drivers differ: a duplicate key is an
IntegrityError everywhere, a lost connection an OperationalError of psycopg and an InterfaceError of asyncpg.
``connection_invalidated`` says for all of them that the connection is gone. Drivers of PostgreSQL know the SQLSTATE,
which decides: most of what asyncpg raises has no class of its own in SQLAlchemy, all that pg8000 raises is a
ProgrammingError, and what asyncpg raises while a stream is read is not wrapped at all. The wait for a connection of
the program's own pool ends with a TimeoutError of SQLAlchemy's: this says nothing of the database. ``judge`` tells
these apart, and it needs no import of SQLAlchemy.

A ``Session`` belongs to one thread at a time, and a transaction to one connection. A guard with a timeout runs a plain
function on a worker thread, so the unit of work must begin and end there: ``unit_of_work`` gives a function a session
of its own, commits when it returns, rolls back when it raises, and closes the session on the thread that used it,
however late that is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from .. import Ending, FailureRules, Verdict
from ..core.callbacks import check_plain
from ..engine.callables import flavour_of
from ..engine.wrapper_spec import Flavour
from .pool_waits import was_cancelled_in

__all__ = ["FAILURES", "unit_of_work"]

P = ParamSpec("P")
R = TypeVar("R")

#: What the database says of the statement. Its other errors, DBAPIError and OperationalError above all, are its own.
_OF_THE_STATEMENT: Final = frozenset({"IntegrityError", "ProgrammingError", "DataError", "NotSupportedError"})
#: What it says by the class of its SQLSTATE, the first two characters: ISO/IEC 9075-2, "SQLSTATE class and subclass
#: codes"; P0 is PostgreSQL's for errors that its procedures raise. And by the whole of it, as in its "Error Codes": a
#: statement after one that has failed, and one that no transaction may have.
_STATES_OF_THE_STATEMENT: Final = frozenset({
    "0A", "21", "22", "23", "26", "2B", "34", "3D", "3F", "42", "44", "P0", "25P02", "25001"})
#: Where its drivers, and SQLAlchemy's own words for asyncpg, have their exceptions. MySQL's states say less: a user
#: with too many connections is a 42000, as wrong syntax is.
_OF_POSTGRESQL: Final = ("sqlalchemy.dialects.postgresql", "asyncpg", "pg8000", "psycopg")


def judge(ending: Ending) -> Verdict | None:
    """Return what a call of SQLAlchemy amounts to; a judge for ``failures``.

    Args:
        ending: How the call ended.

    Returns:
        Failed if the connection is gone, and for all errors of the database but these: wrong statements, wrong data
        and broken constraints, which are the caller's fault. So is whatever SQLAlchemy raises by itself, such as stale
        objects. Refused if a connection pool of the program's own had none to give in time. None for results and for
        exceptions that are not SQLAlchemy's, but for those of PostgreSQL's drivers that have an SQLSTATE.
    """
    if ending.error is None:
        return None
    names = {kind.__name__ for kind in type(ending.error).__mro__ if kind.__module__.startswith("sqlalchemy.")}
    if names and (getattr(ending.error, "connection_invalidated", False) or "DisconnectionError" in names):
        return Verdict.FAILED
    state = _state_of(getattr(ending.error, "orig", None) if names else ending.error)
    if state is not None:
        return Verdict.CALLER_FAULT if {state, state[:2]} & _STATES_OF_THE_STATEMENT else Verdict.FAILED
    if not names:
        return None
    if "TimeoutError" in names:  # of QueuePool; a database's own comes as an OperationalError
        return Verdict.REFUSED
    return Verdict.FAILED if "DBAPIError" in names and not names & _OF_THE_STATEMENT else Verdict.CALLER_FAULT


def _state_of(error: Any) -> str | None:
    """The SQLSTATE of a driver's exception; None: it has none, or one of another database, where it says less."""
    if not type(error).__module__.startswith(_OF_POSTGRESQL):
        return None
    found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)  # psycopg2's word for it
    if found is None and error.args and isinstance(error.args[0], dict):  # of pg8000: the fields of the message
        found = error.args[0].get("C")
    return found if isinstance(found, str) and found else None


def waited_for_pool(error: BaseException) -> bool:
    """Whether *error* cancelled the wait for a connection of the pool of an asynchronous engine.

    Args:
        error: What was raised.
    """
    return was_cancelled_in(error, "sqlalchemy.util.queue:get")


#: Failure rules for functions that use SQLAlchemy.
FAILURES: Final = FailureRules(judge, refused=waited_for_pool)


def unit_of_work(sessions: Callable[[], Any]) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[P, R]]:
    """Return a decorator that gives a plain function a session of its own as its first argument.

    It stands below the decorator that guards the function, so that session and transaction begin and end on the thread
    that runs it: ``@command(timeout=2.0)`` above ``@unit_of_work(Session)``. If a timeout has passed meanwhile, the
    work is committed all the same, since it was done; the caller knows only that it may have been.

    Args:
        sessions: Makes a session: a ``sessionmaker``, or a function without arguments.

    Raises:
        ConfigError: *sessions* is no plain function.
        TypeError: The decorated function is a coroutine function or a generator. These run in their caller's task or
            thread: use ``async with sessions.begin() as session`` inside the function.
    """
    check_plain(sessions, "sessions", "no arguments")

    def decorate(function: Callable[Concatenate[Any, P], R]) -> Callable[P, R]:
        if flavour_of(function) is not Flavour.SYNC:
            raise TypeError(f"unit_of_work is for plain functions, and {function!r} is none; write "
                            "'with sessions.begin() as session' inside it")

        @functools.wraps(function)
        def unit(*args: P.args, **kwargs: P.kwargs) -> R:
            with sessions() as session, session.begin():
                return function(session, *args, **kwargs)

        parameters = inspect.signature(function)
        own = [each for index, each in enumerate(parameters.parameters.values()) if index]
        unit.__signature__ = parameters.replace(parameters=own)  # type: ignore[attr-defined]
        del unit.__wrapped__  # what is asked for its parameters would see the session among them
        return unit

    return decorate
