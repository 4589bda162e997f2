"""All workers: what is asked of each of them at once, and what follows if one does not do it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...config import Document
from ...errors import ConfigError
from .worker_process import WorkerGoneError, WorkerProcess, WorkerRefusedError, WorkerSilentError, listed

#: Longest wait for a worker to take a configuration. Thousands of services take seconds to check.
RELOAD_S: Final = 60.0
#: Longest wait for a worker to do what it is told.
ORDER_S: Final = 10.0
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
    taken, refused = [], dict[int, str]()
    asked = [worker for worker in workers if not worker.is_leaving]
    for worker, answer in zip(asked, await _answers(asked, "reload", (document.file, document.data), RELOAD_S),
                              strict=True):
        if isinstance(answer, WorkerRefusedError):
            refused[worker.number] = "; ".join(map(str, answer.args))
        elif isinstance(answer, WorkerSilentError):
            refused[worker.number] = f"no answer within {RELOAD_S:g} s"
        elif isinstance(answer, WorkerGoneError):
            continue  # its successor starts with whatever is in force then
        elif isinstance(answer, BaseException):
            raise answer
        else:
            taken.append(worker)
    if refused:
        await _take_back(in_force, taken)
        raise ConfigError(f"{listed(refused)} cannot take it: {'; '.join(dict.fromkeys(refused.values()))}")


async def _take_back(in_force: tuple[str, Any], taken: Sequence[WorkerProcess]) -> None:
    """Have workers go back to what is in force. One that does not is replaced by one that begins with it."""
    for worker, answer in zip(taken, await _answers(taken, "reload", in_force, RELOAD_S), strict=True):
        if isinstance(answer, BaseException):
            _logger.error("worker %d cannot go back, and is replaced: %s", worker.number, answer)
            worker.terminate()


async def send_clients_away(workers: Sequence[WorkerProcess]) -> None:
    """Have every worker ask its clients to send their next requests elsewhere."""
    for worker, answer in zip(workers, await _answers(workers, "send_away", None, ORDER_S), strict=True):
        if isinstance(answer, Exception):
            _logger.warning("worker %d does not ask its clients to go elsewhere: %s", worker.number,
                            answer or type(answer).__name__)


async def _answers(workers: Sequence[WorkerProcess], verb: str, what: Any, within_s: float) -> list[Any]:
    answers: list[Any] = await asyncio.gather(
        *(worker.ask(verb, what, within_s) for worker in workers), return_exceptions=True)
    return answers
