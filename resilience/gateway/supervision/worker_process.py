"""WorkerProcess: the supervisor's side of one worker: its process, and the questions that it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import attrs

from .channel import Channel

#: Turns of the supervisor, five seconds each, after which a worker that has said nothing serves nobody, as it seems.
_QUIET_TURNS = 3
_CODE = """\
import signal
for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(ignored, signal.SIG_IGN)
import sys
sys.path[:] = {path!r}
from resilience.gateway.supervision.worker import main
main({descriptor})
"""


class WorkerGoneError(Exception):
    """The worker has ended, or is ending."""

    def __str__(self) -> str:
        """What to tell of it."""
        return "it has ended"


class WorkerSilentError(Exception):
    """The worker has said nothing for too long."""

    def __str__(self) -> str:
        """What to tell of it."""
        return "it does not answer"


class WorkerRefusedError(Exception):
    """The worker will not do what it was asked; the arguments are the reasons."""

    def __str__(self) -> str:
        """The reasons."""
        return "; ".join(map(str, self.args))


@attrs.define(eq=False)
class _Question:
    answer: asyncio.Future[Any]
    timeout_s: float
    patience: asyncio.Timeout
    parts: list[Any] = attrs.field(factory=list)


class WorkerProcess:
    """One worker, from its start to its end. For one event loop.

    Attributes:
        number: Counted from 1.
        pid: Of its process.
        started_at: On the loop's clock.
        is_ready: It listens.
        is_silent: It did not answer in time when it was last asked, and has not said anything since.
        is_leaving: It was told to end.
        has_spoken: It has said anything yet.
        silent_turns: Of the supervisor, since it has last said anything, or was started.
        reasons: Why it cannot serve; empty: it did not say.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.number, self.pid, self._process, self._channel = number, process.pid, process, channel
        self.started_at = asyncio.get_running_loop().time()
        self.is_ready = self.is_silent = self.is_leaving = self.has_spoken = False
        self.silent_turns = 0
        self.reasons: list[str] = []
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._said = asyncio.Event()  # whether it is ready, or never will be
        self._listening = asyncio.ensure_future(self._listen())

    @property
    def serves(self) -> bool:
        """Whether it listens, and its event loop turns, as far as its silence tells; see heartbeat.py."""
        return self.is_ready and self.silent_turns < _QUIET_TURNS

    @classmethod
    async def start(cls, number: int, file: str, data: dict[str, Any]) -> WorkerProcess:
        """Start a worker.

        Args:
            number: Counted from 1.
            file: Name of the file, for messages.
            data: What is in it; it was checked.

        Raises:
            OSError: There is no process to be had.
        """
        ours, theirs = socket.socketpair()
        try:
            # It imports what this process would, and gets no signals of the terminal, which this process hands on.
            code = _CODE.format(path=sys.path, descriptor=theirs.fileno())
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *flags, "-c", code, stdin=subprocess.PIPE, pass_fds=(theirs.fileno(),),
                start_new_session=True)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        channel = await Channel.over(ours)
        channel.tell((file, data))
        return cls(number, process, channel)

    async def said(self) -> bool:
        """Wait until it listens (True), or has ended or will (False)."""
        await self._said.wait()
        return self.is_ready

    async def ended(self) -> int:
        """Wait for its end; the exit status, or the negative number of the signal that ended it."""
        status = await self._process.wait()
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._channel.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return status

    async def ask(self, verb: str, argument: Any, timeout_s: float) -> tuple[Any, list[Any]]:
        """The answer to a question, and the parts that came before it.

        Args:
            verb: What worker.Answers knows.
            argument: What it takes.
            timeout_s: Longest wait for the answer, or for the next of its parts.

        Raises:
            WorkerGoneError: It has ended.
            WorkerSilentError: It does not answer.
            WorkerRefusedError: It says why it will not.
        """
        if self._listening.done():
            raise WorkerGoneError
        number, patience = next(self._numbers), asyncio.timeout(timeout_s)
        question = _Question(asyncio.get_running_loop().create_future(), timeout_s, patience)
        self._questions[number] = question
        try:
            self._channel.tell((number, verb, argument))
            async with patience:
                return await question.answer, question.parts
        except TimeoutError:
            self.is_silent = True
            raise WorkerSilentError from None
        finally:
            del self._questions[number]

    def terminate(self) -> None:
        """Tell it to end: what is under way may finish."""
        self.is_leaving = True
        self._signal(signal.SIGTERM)

    def kill(self, why: str | None = None) -> None:
        """End it at once.

        Args:
            why: Told of it when it has ended.
        """
        self.is_leaving = True
        self.reasons += [] if why is None else [why]
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)  # looks first whether it was reaped: no other process is hit

    async def _listen(self) -> None:
        try:
            while True:
                number, is_done, value = await self._channel.receive()
                self.silent_turns, self.has_spoken = 0, True
                if number == 0 and is_done is None:  # a beat, which is no answer
                    continue
                self.is_silent = False
                if number == 0:
                    self.is_ready, self.reasons = is_done, value or []
                    self._said.set()
                elif number in self._questions:
                    self._answered(self._questions[number], is_done, value)
        except EOFError:
            pass
        finally:
            self.is_ready = False
            self._said.set()
            for question in self._questions.values():
                if not question.answer.done():
                    question.answer.set_exception(WorkerGoneError())

    @staticmethod
    def _answered(question: _Question, is_done: bool | None, value: Any) -> None:
        if is_done is None:
            question.parts.append(value)
            if not question.patience.expired():
                question.patience.reschedule(asyncio.get_running_loop().time() + question.timeout_s)
        elif not question.answer.done():
            if is_done:
                question.answer.set_result(value)
            else:
                question.answer.set_exception(WorkerRefusedError(*value))


def described(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def listed(numbers: Iterable[int]) -> str:
    """Names of workers, for messages."""
    return ", ".join(f"worker {number}" for number in sorted(numbers))
