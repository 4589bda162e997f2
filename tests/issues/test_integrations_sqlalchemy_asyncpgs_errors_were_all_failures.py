"""SQLAlchemy has no class for most of what asyncpg raises: wrong data, a missing privilege and what a procedure raises
are a plain DBAPIError, and so are a cancelled statement and a full disk. All of them were failures, and a careless
caller opened the circuit for all others.
"""

import pytest
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from resilience import Ending, Verdict
from resilience.integrations.sqlalchemy import judge

STATES = {
    "22012": Verdict.CALLER_FAULT, "22P02": Verdict.CALLER_FAULT, "22000": Verdict.CALLER_FAULT,
    "21000": Verdict.CALLER_FAULT, "42501": Verdict.CALLER_FAULT, "3F000": Verdict.CALLER_FAULT,
    "P0001": Verdict.CALLER_FAULT, "0A000": Verdict.CALLER_FAULT,
    "25006": Verdict.FAILED, "40001": Verdict.FAILED, "40P01": Verdict.FAILED, "53100": Verdict.FAILED,
    "53300": Verdict.FAILED, "55P03": Verdict.FAILED, "57014": Verdict.FAILED, "57P01": Verdict.FAILED,
    "57P03": Verdict.FAILED, "58030": Verdict.FAILED, "XX000": Verdict.FAILED, "08006": Verdict.FAILED,
    "": Verdict.FAILED, None: Verdict.FAILED,
}


class PostgresError(Exception):
    """As asyncpg's: each class of errors has its SQLSTATE."""

    def __init__(self, sqlstate):
        super().__init__("said")
        self.sqlstate = sqlstate


def raised(kind, sqlstate, is_lost=False):
    """What SQLAlchemy raises for an error that asyncpg has raised."""
    dbapi = AsyncAdapt_asyncpg_dbapi
    error = getattr(dbapi, kind)("said", PostgresError(sqlstate))
    return exc.DBAPIError.instance("select 1", {}, error, dbapi.Error, connection_invalidated=is_lost)


@pytest.mark.parametrize(("sqlstate", "verdict"), STATES.items())
def test_the_sqlstate_of_an_error_without_a_class_decides(sqlstate, verdict):
    error = raised("Error", sqlstate)
    assert type(error) is exc.DBAPIError
    assert verdict is judge(Ending(error=error))


def test_a_lost_connection_says_more_than_the_state():
    assert Verdict.FAILED is judge(Ending(error=raised("Error", "22012", is_lost=True)))
