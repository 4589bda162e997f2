"""A gateway whose shared store does not answer from the start, or wants a password later, said so in its report alone."""

import asyncio
import logging

from resilience import Registry
from resilience.shared.connection import Connection
from tests.shared.fleet import virtually


class AnswerError(Exception):
    """What the server says."""


class Client:
    """A client of redis-py, whose server refuses everybody for a reason, or answers."""

    def __init__(self, reason):
        self._reason = reason

    async def ping(self):
        if self._reason is not None:
            raise (ConnectionError if self._reason.startswith("refused") else AnswerError)(self._reason)

    async def execute_command(self, *_):
        return [1, b"e:0"]

    async def aclose(self):
        pass


def told_of(caplog, *reasons):
    """What the log is told while a store is looked for that gives these reasons, one after the other, and the last for ever."""

    async def scenario():
        loop, left = asyncio.get_running_loop(), list(reasons)
        connection = Connection(lambda: Client(left.pop(0) if len(left) > 1 else left[0]), place="redis://x", name="one", prefix="",
                                timeout_s=1.0, registry=Registry(clock=loop.time))
        connection.start()
        await asyncio.sleep(30.0)
        assert connection.is_connected is (reasons[-1] is None)
        connection.close()
        await connection.closed()

    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="resilience"):
        virtually(scenario)
    told = (each.getMessage() for each in caplog.records if "shared store" in each.getMessage())
    return [each.removeprefix("the shared store at redis://x is ") for each in told]


def lost(*reasons):
    return [f"lost, and decisions are made locally: {each}" for each in reasons]


def test_a_store_that_was_never_there_is_told_of_once(caplog):
    assert told_of(caplog, "refused") == lost("refused")
    *first, found = told_of(caplog, "refused", "refused", None)
    assert (first, found.split(", after")[0]) == (lost("refused"), "there again")
    assert not told_of(caplog, None)


def test_each_other_reason_that_the_server_gives_is_told_once_too_and_not_without_end(caplog):
    assert told_of(caplog, "refused", "refused again", "no password", "refused", "no password") == lost("refused", "no password")
    assert told_of(caplog, *map(str, range(20))) == lost(*map(str, range(8)))
