"""The program of docs/howto/stream-through-faults.md in each fault: what its user sees stands here, and in its tables.

A real server and real sockets. The clock is the test's, and a fault that is silent for long moves it on.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import random
import ssl

import attrs
import httpx
import openai
import pytest

import resilience
from resilience import FailedResultError, Registry, StreamTimeoutError
from resilience.testing import ManualClock, VirtualTimeLoop, assert_idle
from tests.docs.pages import DOCS, fences, rows, section
from tests.scenarios.vendors import (
    BEGINNING,
    END,
    ERROR,
    HEAD,
    WORDS,
    Vendor,
    keeps_alive,
    resets,
    sends,
    silent,
    status,
    well,
)

PAGE = DOCS / "howto" / "stream-through-faults.md"
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


FAILED = ({"failure": 1} | GOES_ON, WELL)
TIMED_OUT = ({"timeout": 1} | GOES_ON, WELL)
BUSY = ({"busy": 1} | GOES_ON, WELL)
TEN_SECONDS = (10.0, 10.0)

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
    Row("something that is no HTTP", sends(b"SSH-2.0-OpenSSH_9.6\r\n"), FAILED),
    Row("400", status("400 Bad Request"), ({"bad_request": 1}, {}), events=0, error=httpx.HTTPStatusError,
        requests=(1, 0)),
]


# -- the programs, as the page has them

class Stage:
    """The two programs of the page in a registry of the test's, and the vendors that they ask.

    Attributes:
        black_hole: Port to which nobody can connect; None: there is none.
    """

    def __init__(self, clock, seed=0):
        self.clock, self.black_hole = clock, None
        self.registry = Registry(clock=clock, random=random.Random(seed).random)
        self.primary, self.backup = Vendor(self.pass_time), Vendor(self.pass_time)
        self.program = {"__name__": "program"}

    def play(self, monkeypatch):
        """Run the page."""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        with monkeypatch.context() as patch:
            patch.setattr(resilience, "command", functools.partial(resilience.command, registry=self.registry))
            # Nobody needs certificates here, and to load them takes longer than all the rest.
            patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args, **kwargs: None)
            for fence in fences(PAGE):
                exec(compile(fence.text, PAGE.name, "exec"), self.program)
        self.program["VENDORS"].update(primary=self.primary.url, backup=self.backup.url)
        return self

    def clock_on(self, seconds):
        """Move the clock on while nobody calls."""
        self.clock.advance(seconds)

    def prepare(self, row):
        self.primary.fault = row.fault
        if row.prepare is not None:
            row.prepare(self)

    def close(self):
        self.primary.close()
        self.backup.close()


class Loop(VirtualTimeLoop):
    """One on which ten seconds pass as soon as somebody tries to connect to a black hole."""

    black_hole = staticmethod(lambda: None)

    async def sock_connect(self, sock, address):
        if address[1] == self.black_hole():
            self.call_soon(self.advance, 10.0)
        return await super().sock_connect(sock, address)


class AsyncStage(Stage):
    """The asynchronous program."""

    def __init__(self, seed=0):
        self.runner = asyncio.Runner(loop_factory=Loop)
        self.loop = self.runner.get_loop()
        self.loop.black_hole = lambda: self.black_hole
        super().__init__(self.loop.time, seed)

    @property
    def answer(self):
        return self.program["answer"]

    @staticmethod
    def word(event):
        return event["text"]

    def pass_time(self, seconds):
        passed = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(lambda: passed.set_result(self.loop.advance(seconds)))
        passed.result(60.0)

    def clock_on(self, seconds):
        self.loop.advance(seconds)

    def later(self, seconds, action):
        self.loop.call_later(seconds, action)

    async def reads(self, limit=None):
        """What a user sees: the words, the error or None, and the seconds that it took."""
        begun, words, error = self.clock(), [], None
        async with contextlib.aclosing(self.answer("Say hello")) as events:
            try:
                async for each in events:
                    words.append(self.word(each))
                    self.primary.was_taken()
                    if len(words) == limit:
                        break
            except Exception as raised:
                error = raised
        return words, error, self.clock() - begun

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def see(self, limit=None):
        return self.see_many(1, limit)[0]

    def see_many(self, users, limit=None):
        async def main():
            seen = await asyncio.gather(*(self.reads(limit) for _ in range(users)))
            for vendor in (self.primary, self.backup):
                await asyncio.to_thread(vendor.until_left)
            return seen

        return self.run(main())

    def close(self):
        self.run(self.program["client"].aclose())
        self.run(self.program["openai"].close())
        self.runner.close()
        super().close()


class OpenAIStage(AsyncStage):
    """The program with the client of openai."""

    @property
    def answer(self):
        return self.program["chat"]

    @staticmethod
    def word(event):
        return event

    def play(self, monkeypatch):
        super().play(monkeypatch)
        client = self.program["openai"]
        self.program["openai"] = client.with_options(http_client=self.program["client"])
        self.run(client.close())
        return self


class Clock(ManualClock):
    """One on which something happens later."""

    __slots__ = ("later",)

    def __init__(self):
        super().__init__()
        self.later = []

    def sleep(self, seconds):
        super().sleep(seconds)
        due = [action for at, action in self.later if at <= self()]
        self.later = [each for each in self.later if each[0] > self()]
        for action in due:
            action()


class Hasty(httpx.HTTPTransport):
    """A transport that waits for some servers only briefly, and then says that the whole time has passed."""

    ports, patience, clock = (), None, None

    def handle_request(self, request):
        timeouts = request.extensions["timeout"]
        if self.patience is None or request.url.port not in self.ports:
            return super().handle_request(request)
        request.extensions["timeout"] = dict.fromkeys(timeouts, self.patience)
        with self.all_of(timeouts["read"]):
            response = super().handle_request(request)
        response.stream = HastyBody(response.stream, functools.partial(self.all_of, timeouts["read"]))
        return response

    @contextlib.contextmanager
    def all_of(self, seconds):
        try:
            yield
        except httpx.TimeoutException:
            self.clock.advance(seconds)
            raise


class HastyBody(httpx.SyncByteStream):
    def __init__(self, inner, waiting):
        self.inner, self.waiting, self.close = inner, waiting, inner.close

    def __iter__(self):
        with self.waiting():
            yield from self.inner


class SyncStage(Stage):
    """The synchronous program."""

    def __init__(self, seed=0):
        super().__init__(Clock(), seed)

    @property
    def answer(self):
        return self.program["sync_answer"]

    def play(self, monkeypatch):
        super().play(monkeypatch)
        self.transport = Hasty(verify=False)
        self.transport.clock = self.clock
        client = self.program["sync_client"]
        assert client.timeout.read == 10.0
        client._transport, before = self.transport, client._transport
        before.close()
        self.program["monotonic"] = self.clock
        return self

    def prepare(self, row):
        self.be_hasty(row.hangs, self.primary)
        super().prepare(row)

    def be_hasty(self, patience, *vendors):
        self.transport.ports, self.transport.patience = [vendor.port for vendor in vendors], patience

    def pass_time(self, seconds):
        if self.transport.patience is None:  # else the client's timeout says so
            self.clock.advance(seconds)

    def later(self, seconds, action):
        self.clock.later.append((self.clock() + seconds, action))

    def reads(self, limit=None):
        begun, words, error = self.clock(), [], None
        with contextlib.closing(self.answer("Say hello")) as events:
            try:
                for each in events:
                    words.append(each["text"])
                    self.primary.was_taken()
                    if len(words) == limit:
                        break
            except Exception as raised:
                error = raised
        return words, error, self.clock() - begun

    def see(self, limit=None):
        return self.see_many(1, limit)[0]

    def see_many(self, users, limit=None):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(lambda _: self.reads(limit), range(users)))
        for vendor in (self.primary, self.backup):
            vendor.until_left()
        return seen

    def close(self):
        self.program["sync_client"].close()
        super().close()


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
OF_OPENAI = {httpx.ReadError: openai.APIConnectionError, FailedResultError: openai.APIError,
             httpx.HTTPStatusError: openai.BadRequestError}


def as_the_sync_program_counts(counts):
    """httpx says that the time is up, and so it is a failure like any other."""
    return {"failure" if name == "timeout" else name: n for name, n in counts.items()}


@pytest.mark.parametrize("row", [*FAULTS, *RELATIVES], ids=lambda row: row.name)
def test_the_user_sees_what_the_page_says(row, stages):
    for seed in range(20 if row.draws else 1):
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
