"""All workers: what is asked of each of them at once, and what follows if one does not do it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...config import Document
from ...errors import ConfigError
from .worker_process import WorkerGoneError, WorkerProcess, WorkerRefusedError, WorkerSilentError, listed

#: Longest wait for a worker to take a configuration. Thousands of services take seconds to check.
RELOAD_S: Final = 60.0
#: After this time a worker takes no configuration any more: its answer might come when nobody waits for it.
TAKE_S: Final = 50.0
#: Longest wait for a worker to do what it is told.
ORDER_S: Final = 10.0
_later: Final[set[asyncio.Future[None]]] = set()  # a loop alone would let them be collected
_logger = logging.getLogger(__name__)


async def distribute(document: Document, in_force: tuple[str, Any], workers: Iterable[WorkerProcess]) -> None:
    """Have every worker take a *document*, or none.

    Args:
        document: The configuration.
        in_force: The name and the tables of the one that they go back to.
        workers: Those that are leaving are not asked.

    Raises:
        ConfigError: A worker cannot take it.
    """
    taken, silent, refused = list[WorkerProcess](), list[WorkerProcess](), dict[int, str]()
    asked = [worker for worker in workers if not worker.is_leaving]
    for worker, answer in zip(asked, await _reload(asked, (document.file, document.data)), strict=True):
        if isinstance(answer, WorkerRefusedError):
            refused[worker.number] = str(answer)
        elif isinstance(answer, WorkerSilentError):
            refused[worker.number] = f"no answer within {RELOAD_S:g} s"
            silent.append(worker)
        elif isinstance(answer, WorkerGoneError):
            continue  # its successor starts with whatever is in force then
        elif isinstance(answer, BaseException):
            raise answer
        else:
            taken.append(worker)
    if refused:
        if silent:  # they take it no more, unless they just have: nobody waits for them to say that they went back
            later = asyncio.ensure_future(_take_back(in_force, silent))
            _later.add(later)
            later.add_done_callback(_later.discard)
        await _take_back(in_force, taken)
        raise ConfigError(f"{listed(refused)} cannot take it: {'; '.join(dict.fromkeys(refused.values()))}")


async def _take_back(in_force: tuple[str, Any], taken: Sequence[WorkerProcess]) -> None:
    """Have workers go back to what is in force. One that does not is replaced by one that begins with it."""
    for worker, answer in zip(taken, await _reload(taken, in_force), strict=True):
        if isinstance(answer, Exception) and not isinstance(answer, WorkerGoneError):
            _logger.error("worker %d cannot go back, and is replaced: %s", worker.number, answer)
            worker.terminate()


async def send_clients_away(workers: Sequence[WorkerProcess]) -> None:
    """Have every worker ask its clients to send their next requests elsewhere."""
    for worker, answer in zip(workers, await _answers(workers, "send_away", None, ORDER_S), strict=True):
        if isinstance(answer, Exception):
            _logger.warning("worker %d does not ask its clients to go elsewhere: %s", worker.number, answer)


async def reopen_logs(workers: Sequence[WorkerProcess]) -> None:
    """Have every worker write to the file that has the access log's name now, as each does within a second anyway."""
    await _answers(workers, "reopen", None, ORDER_S)


async def _reload(workers: Sequence[WorkerProcess], configuration: tuple[str, Any]) -> list[Any]:
    """Have *workers* take a configuration, in time or not at all. The clock is one for all processes of a machine."""
    return await _answers(workers, "reload", (*configuration, time.monotonic() + TAKE_S), RELOAD_S)


async def _answers(workers: Sequence[WorkerProcess], verb: str, what: Any, within_s: float) -> list[Any]:
    answers: list[Any] = await asyncio.gather(
        *(worker.ask(verb, what, within_s) for worker in workers), return_exceptions=True)
    return answers
