"""The program of docs/howto/stream-through-faults.md in each fault: what its user sees stands here, and in its tables.

A real server and real sockets. The clock is the test's, and a fault that is silent for long moves it on.
"""

import asyncio
import contextlib
import functools
import random

import attrs
import httpx
import openai
import pytest

from resilience import FailedResultError, StreamTimeoutError
from resilience.testing import assert_idle
from tests.docs.pages import fences, rows, section
from tests.scenarios.stages import PAGE, AsyncStage, OpenAIStage, SyncStage
from tests.scenarios.vendors import (
    BEGINNING,
    END,
    ERROR,
    HEAD,
    WORDS,
    chunk,
    keeps_alive,
    resets,
    sends,
    silent,
    status,
    well,
)

#: What a call ended as; what a target's statistics say beside that follows from it.
ENDINGS = ("success", "failure", "timeout", "busy", "bad_request", "cancelled", "failover")
GOES_ON, WELL = {"failover": 1}, {"success": 1}
THREE_EVENTS = len(WORDS)


@attrs.frozen
class Row:
    """A row of the page's tables: a fault of the primary, and what the user sees.

    Attributes:
        name: As the table calls it.
        fault: Of a request that has reached the primary; None: ``prepare`` is all.
        counts: What the primary's command counted, and the backup's; a pair: from and to.
        prepare: Given the stage; None: there is nothing to prepare.
        events: How many the user gets.
        error: What the user gets then; None: nothing, for the answer is whole.
        after: Seconds that this takes, from and to.
        requests: How many have reached the primary, and the backup.
        sync_error: What the user of the synchronous program gets; None: the same.
        hangs: How many real seconds the synchronous client has patience with the primary; None: as many as it has.
        draws: Random numbers have a part in it.
    """

    name: str
    fault: object
    counts: tuple
    prepare: object = None
    events: int = THREE_EVENTS
    error: type | None = None
    after: tuple = (0.0, 0.0)
    requests: tuple = (1, 1)
    sync_error: type | None = None
    hangs: float | None = None
    draws: bool = False


def go_down(stage):
    stage.primary.go_down()


def both_go_down(stage):
    for vendor in (stage.primary, stage.backup):
        vendor.go_down()
        stage.later(3.0, vendor.come_up)


def be_a_black_hole(stage):
    stage.primary.be_a_black_hole()
    stage.black_hole = stage.primary.port


#: Without the one that draws a probe 3 ms before both are back: it lasts for some real time, and may meet either.
DRAWN = [seed for seed in range(21) if seed != 15]

FAILED = ({"failure": 1} | GOES_ON, WELL)
TIMED_OUT = ({"timeout": 1} | GOES_ON, WELL)
BUSY = ({"busy": 1} | GOES_ON, WELL)
TEN_SECONDS = (10.0, 10.0)

GZIP = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

FAULTS = [
    Row("connection refused", None, FAILED, go_down, requests=(0, 1)),
    Row("black hole", None, TIMED_OUT, be_a_black_hole, after=TEN_SECONDS, requests=(0, 1), hangs=0.05),
    Row("500", status("500 Internal Server Error"), FAILED),
    Row("429 with Retry-After", status("429 Too Many Requests", "Retry-After: 20"), BUSY),
    Row("silence before the first item", silent(10.0), TIMED_OUT, after=TEN_SECONDS, hangs=0.05),
    Row("keep-alives for ever", keeps_alive(10.0), TIMED_OUT, after=TEN_SECONDS),
    Row("stall in mid-stream", silent(5.0, BEGINNING, events=2), ({"timeout": 1}, {}), events=2,
        error=StreamTimeoutError, after=(5.0, 5.0), requests=(1, 0), sync_error=httpx.ReadTimeout, hangs=2.0),
    Row("reset in mid-stream", resets(BEGINNING, events=2), ({"failure": 1}, {}), events=2, error=httpx.ReadError,
        requests=(1, 0)),
    Row("error event inside a 200", sends(HEAD + ERROR + END), FAILED),
    Row("error event after two others", sends(BEGINNING + ERROR + END), ({"failure": 1}, {}), events=2,
        error=FailedResultError, requests=(1, 0)),
    Row("both down for 3 s", None, ({"success": 1, "failure": (3, 4), "failover": (3, 4)}, {"failure": (3, 4)}),
        both_go_down, after=(3.0, 7.0), requests=(1, 0), draws=True),
]
RELATIVES = [
    Row("accepts the request and says nothing", silent(10.0, b""), TIMED_OUT, after=TEN_SECONDS, hangs=0.05),
    Row("503 with a date in Retry-After", status(
        "503 Service Unavailable", "Date: Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After: Wed, 21 Oct 2015 07:28:20 GMT"),
        BUSY),
    Row("reset before the first item", resets(HEAD), FAILED),
    Row("200 with an empty body", sends(HEAD + END), FAILED),
    Row("the answer ends early", sends(BEGINNING + END), ({"failure": 1}, {}), events=2, error=EOFError,
        requests=(1, 0)),
    Row("the connection is closed within a chunk", sends(BEGINNING + b"50\r\ndata:"), ({"failure": 1}, {}), events=2,
        error=httpx.RemoteProtocolError, requests=(1, 0)),
    Row("a body that is not the gzip it claims to be", sends(GZIP + chunk("data: 1\n\n") + END), FAILED),
    Row("something that is no HTTP", sends(b"SSH-2.0-OpenSSH_9.6\r\n"), FAILED),
    Row("400", status("400 Bad Request"), ({"bad_request": 1}, {}), events=0, error=httpx.HTTPStatusError,
        requests=(1, 0)),
]


# -- the programs

EVERY_STAGE = pytest.mark.parametrize("made", [AsyncStage, SyncStage, OpenAIStage], ids=["async", "sync", "openai"])


@pytest.fixture(params=[AsyncStage, SyncStage, OpenAIStage], ids=["async", "sync", "openai"])
def stages(request, monkeypatch):
    """Makes a stage, given a seed."""
    with contextlib.ExitStack() as stack:

        def stage(seed=0):
            made = request.param(seed)
            stack.callback(made.close)
            return made.play(monkeypatch)

        yield stage


def counted(handle):
    return {name: n for name, n in handle.snapshot().counts.items() if n and name in ENDINGS}


#: What openai's client raises instead.
OF_OPENAI = {httpx.ReadError: openai.APIConnectionError, httpx.RemoteProtocolError: openai.APIConnectionError,
             FailedResultError: openai.APIError, httpx.HTTPStatusError: openai.BadRequestError}


def as_the_sync_program_counts(counts):
    """httpx says that the time is up, and so it is a failure like any other."""
    return {"failure" if name == "timeout" else name: n for name, n in counts.items()}


@pytest.mark.parametrize("row", [*FAULTS, *RELATIVES], ids=lambda row: row.name)
def test_the_user_sees_what_the_page_says(row, stages):
    for seed in DRAWN if row.draws else DRAWN[:1]:
        stage = stages(seed)
        is_sync = isinstance(stage, SyncStage)
        stage.prepare(row)
        words, error, took = stage.see()
        assert list(WORDS[:row.events]) == words
        expected = (is_sync and row.sync_error) or row.error or type(None)
        assert type(error) is (OF_OPENAI.get(expected, expected) if isinstance(stage, OpenAIStage) else expected)
        first, last = (10.0, 10.0) if is_sync and row.sync_error else row.after
        assert first - 1e-6 <= took <= last + 1e-6
        assert row.requests == (stage.primary.asked, stage.backup.asked)
        for target, expected in zip(("primary", "backup"), row.counts, strict=True):
            handle = stage.answer.resilience[target]
            seen, expected = counted(handle), as_the_sync_program_counts(expected) if is_sync else expected
            assert seen.keys() == expected.keys()
            for name, n in expected.items():
                least, most = n if isinstance(n, tuple) else (n, n)
                assert least <= seen[name] <= most, name
            assert handle.state == "closed" or row.draws
            assert_idle(handle)


# -- further calls

def whole_answers(stage, number):
    for _ in range(number):
        assert (list(WORDS), None) == stage.see()[:2]


@pytest.mark.parametrize("fault", [status("500 Internal Server Error"), resets(BEGINNING, events=2)], ids=["500", "reset"])
def test_after_three_failures_all_answers_come_from_the_backup_until_a_probe_finds_the_primary_well(fault, stages):
    stage = stages()
    stage.primary.fault = fault
    for _ in range(3):
        stage.see()
    assert "open" == stage.answer.resilience["primary"].state
    whole_answers(stage, 5)
    assert 3 == stage.primary.asked
    stage.primary.fault = None
    stage.clock_on(29.0)
    whole_answers(stage, 1)
    assert 3 == stage.primary.asked
    stage.clock_on(1.0)
    whole_answers(stage, 3)
    assert 6 == stage.primary.asked


def test_a_primary_that_said_retry_after_gets_no_call_until_then(stages):
    stage = stages()
    stage.primary.fault = status("429 Too Many Requests", "Retry-After: 20")
    whole_answers(stage, 3)
    stage.clock_on(19.0)
    whole_answers(stage, 1)
    assert (1, 4) == (stage.primary.asked, stage.backup.asked)
    stage.primary.fault = None
    stage.clock_on(1.0)
    whole_answers(stage, 1)
    assert (2, 4) == (stage.primary.asked, stage.backup.asked)


def test_if_both_are_busy_the_call_waits_as_long_as_the_last_one_asks_and_tries_both_again(stages):
    stage = stages()
    stage.primary.fault = stage.backup.fault = status("429 Too Many Requests", "Retry-After: 5")
    stage.later(5.0, functools.partial(setattr, stage.primary, "fault", None))
    words, error, took = stage.see()
    assert (list(WORDS), None, 5.0) == (words, error, pytest.approx(took))
    assert (2, 1) == (stage.primary.asked, stage.backup.asked)


def test_if_both_are_busy_for_too_long_the_user_hears_it_at_once(stages):
    stage = stages()
    stage.primary.fault = stage.backup.fault = status("429 Too Many Requests", "Retry-After: 60")
    words, error, took = stage.see()
    assert ([], 429, 0.0) == (words, error.response.status_code, took)
    assert any("asks for a wait of 60 s" in note for note in error.__notes__)


def test_in_a_black_hole_it_is_the_connection_that_nobody_answers(stages):
    stage = stages()
    row = next(row for row in FAULTS if row.name == "black hole")
    stage.prepare(row)
    stage.see()
    last = stage.answer.resilience["primary"].snapshot().last_failure
    assert last.type == ("httpx.ConnectTimeout" if isinstance(stage, SyncStage) else "resilience.errors.StreamTimeoutError")


@pytest.mark.parametrize("leaves", ["primary", "backup"])
def test_a_user_who_leaves_early_closes_the_connection_and_counts_as_cancelled(leaves, stages):
    stage = stages()
    goes_on_for_ever = silent(0.0, BEGINNING)
    stage.primary.fault = goes_on_for_ever if leaves == "primary" else status("500 Internal Server Error")
    stage.backup.fault = goes_on_for_ever
    assert ["one"] == stage.see(limit=1)[0]
    handle = stage.answer.resilience[leaves]
    assert {"cancelled": 1} == counted(handle)
    assert_idle(handle)


@pytest.mark.parametrize("where", ["before the first event", "in mid-stream", "at the backup"])
def test_a_user_who_is_cancelled_gets_no_answer_from_elsewhere(where, monkeypatch):
    stage, waits = AsyncStage(), asyncio.Event()
    told = silent(0.0, BEGINNING if where == "in mid-stream" else HEAD)

    def fault(vendor, connection):
        stage.loop.call_soon_threadsafe(waits.set)
        told(vendor, connection)

    async def main():
        reading = asyncio.create_task(stage.reads())
        await waits.wait()
        for _ in range(100):  # it gets as far as it can
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    with contextlib.closing(stage.play(monkeypatch)):
        last = stage.backup if where == "at the backup" else stage.primary
        stage.primary.fault, last.fault = status("500 Internal Server Error"), fault
        stage.run(main())
        last.until_left()
        assert {"cancelled": 1} == counted(stage.answer.resilience["backup" if last is stage.backup else "primary"])
        assert (1, int(last is stage.backup)) == (stage.primary.asked, stage.backup.asked)
        for handle in stage.answer.resilience:
            assert_idle(handle)


@EVERY_STAGE
def test_of_many_users_of_ill_vendors_none_gets_two_answers_mixed_and_nothing_is_left_behind(made, monkeypatch):
    ills = [row.fault for row in (*FAULTS, *RELATIVES) if row.fault and not row.events < THREE_EVENTS]
    ills += [sends(BEGINNING + END), sends(BEGINNING + ERROR + END), resets(BEGINNING), well, well, well, well]
    for seed in range(3):
        with contextlib.closing(made(seed).play(monkeypatch)) as stage:
            draw = random.Random(seed)
            for vendor in (stage.primary, stage.backup):
                vendor.fault = lambda *args: draw.choice(ills)(*args)
            if made is SyncStage:
                stage.be_hasty(0.1, stage.primary, stage.backup)
            for words, error, _ in stage.see_many(40):
                assert words == list(WORDS[:len(words)])
                assert (len(words) == THREE_EVENTS) or error is not None
            for handle in stage.answer.resilience:
                assert_idle(handle)


# -- the page

def sees(row):
    """The second column."""
    took = "at once" if row.after == (0.0, 0.0) else "after " + " to ".join(f"{s:g}" for s in sorted(set(row.after))) + " s"
    if row.error is None:
        return f"the whole answer, {took}"
    module = row.error.__module__.partition(".")[0]
    name = row.error.__qualname__ if module == "builtins" else f"{module}.{row.error.__qualname__}"
    return f"{row.events} events, then {name}, {took}"


def numbers(counts):
    return ", ".join(f"{name} " + (" to ".join(map(str, n)) if isinstance(n, tuple) else str(n)) for name, n in counts.items())


def test_the_tables_of_the_page_say_what_is_tested():
    table = rows(section("howto/stream-through-faults.md", "## What the user sees"))
    assert [[row.name, sees(row), ", ".join(map(str, row.requests)), *map(numbers, row.counts)]
            for row in (*FAULTS, *RELATIVES)] == [[name, what, *rest] for name, what, _, *rest in table]


def test_the_program_of_the_page_has_twenty_lines():
    assert 20 == len([line for line in fences(PAGE)[0].text.splitlines() if line])
