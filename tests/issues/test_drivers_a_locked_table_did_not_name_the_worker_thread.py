"""A test case of Django has a transaction in its thread, and SQLite in memory. A guarded query with a timeout ran on a
worker thread, with a connection of its own, and failed by "database table is locked" without a word about the thread.
"""

import sqlite3

import pytest

from resilience import command
from resilience.drivers.thread_notes import NOTE

URL = "file:locked_table?mode=memory&cache=shared"


def count():
    connection = sqlite3.connect(URL, uri=True)
    try:
        return connection.execute("select count(*) from stock").fetchone()[0]
    finally:
        connection.close()


@pytest.mark.parametrize(("timeout", "noted"), [(30.0, True), (None, False)])
def test_the_error_is_explained_if_the_call_was_moved(registry, timeout, noted):
    guarded = command(key="count", timeout=timeout, registry=registry)(count)
    connection = sqlite3.connect(URL, uri=True)
    try:
        connection.execute("create table stock (sku)")
        connection.execute("insert into stock values ('apple')")  # the transaction goes on
        with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            guarded()
        assert (NOTE in getattr(caught.value, "__notes__", ())) is noted
    finally:
        connection.close()
