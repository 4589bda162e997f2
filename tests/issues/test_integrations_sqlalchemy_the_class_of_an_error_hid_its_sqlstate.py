"""pg8000 has one class for all that PostgreSQL says, a ProgrammingError, so that a server without room for connections
was the caller's fault. What asyncpg raises while a stream is read reaches the program unwrapped, and a division by zero
was a failure. So was each statement after the one that had failed, an InternalError of psycopg.
"""

import pytest
from sqlalchemy import exc

from resilience import Ending, Verdict
from resilience.integrations.sqlalchemy import judge

STATES = {"22012": Verdict.CALLER_FAULT, "42P01": Verdict.CALLER_FAULT, "25P02": Verdict.CALLER_FAULT,
          "25006": Verdict.FAILED, "53300": Verdict.FAILED, "57014": Verdict.FAILED}


def driver(module, name):
    """A driver's class of exceptions."""
    return type(name, (Exception,), {"__module__": module})


@pytest.mark.parametrize(("sqlstate", "verdict"), STATES.items())
def test_the_sqlstate_says_more_than_the_class(sqlstate, verdict):
    of_pg8000 = driver("pg8000.exceptions", "ProgrammingError")({"S": "ERROR", "C": sqlstate, "M": "said"})
    of_psycopg, of_psycopg2 = (driver(f"{name}.errors", "InternalError")("said") for name in ("psycopg", "psycopg2"))
    of_psycopg.sqlstate = of_psycopg2.pgcode = sqlstate
    of_psycopg2.sqlstate = None
    for kind, error in ((exc.ProgrammingError, of_pg8000), (exc.InternalError, of_psycopg),
                        (exc.InternalError, of_psycopg2)):
        assert verdict is judge(Ending(error=kind("select 1", {}, error)))


@pytest.mark.parametrize(("sqlstate", "verdict"), [*STATES.items(), (None, None)])
def test_an_error_of_a_driver_that_is_not_wrapped_is_judged_by_its_sqlstate(sqlstate, verdict):
    error = driver("asyncpg.exceptions", "PostgresError")("said")
    error.sqlstate = sqlstate
    assert verdict is judge(Ending(error=error))


def test_the_class_decides_where_there_is_no_sqlstate_of_postgresql():
    placeholder = driver("psycopg", "ProgrammingError")("the query has 1 placeholder but 0 parameters were passed")
    placeholder.sqlstate = None
    assert Verdict.CALLER_FAULT is judge(Ending(error=exc.ProgrammingError("select 1", {}, placeholder)))
    network = driver("pg8000.exceptions", "InterfaceError")("network error")
    assert Verdict.FAILED is judge(Ending(error=exc.InterfaceError("select 1", {}, network)))
    connections = driver("pymysql.err", "OperationalError")(1203, "User already has more than 2 active connections")
    connections.sqlstate = "42000"  # in MySQL the state of wrong syntax, too
    assert Verdict.FAILED is judge(Ending(error=exc.OperationalError("select 1", {}, connections)))
    assert None is judge(Ending(error=connections))
