"""Stages: the programs of docs/howto/stream-through-faults.md, as it has them, on a clock of the test's.

An asynchronous one runs on a loop in virtual time. A synchronous client really waits for its server, so its transport
waits for a short time only, and then moves the clock on by as long as the client would have waited.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import random
import ssl

import httpx

import resilience
from resilience import Registry
from resilience.testing import ManualClock, VirtualTimeLoop
from tests.docs.pages import DOCS, fences
from tests.scenarios.vendors import Vendor

PAGE = DOCS / "howto" / "stream-through-faults.md"


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
            if users > 1:  # cancelled at any point, httpcore may keep a connection (its issue 1093)
                await self.program["client"].aclose()
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
