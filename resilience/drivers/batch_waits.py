"""Batch waits: batches and their callers in the wait-for graph (drivers.wait_for_graph).

A batch is a scope, in which it runs: what it asks for is waited for by all who wait for the batch. A caller may be
within other scopes, such as that of a cached call that others wait for, or a thread of a shared pool. These wait for
the caller's ticket, which leads on to the batch.

Nobody has to look whether a batch can end before they enter it: it has not begun then, so it waits for nothing yet.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any, TypeVar

from ..core.batch import Batch, BatchTicket
from .wait_for_graph import Awaited, WaitScope, scopes


class ScopedBatch(Batch):
    """A batch, and the ``scope`` in which it runs."""

    __slots__ = ("scope",)

    def __init__(self, lane: Hashable, kept: Any) -> None:
        super().__init__(lane, kept)
        self.scope = WaitScope()


B = TypeVar("B", bound=ScopedBatch)


class AwaitingTicket(BatchTicket[B], Awaited):
    """A ticket of a caller whose ``scopes`` wait for the batch while the caller does."""

    __slots__ = ("scopes",)

    def __init__(self) -> None:
        super().__init__()
        self.scopes = scopes.get()

    def begin_wait(self) -> None:
        """Note that the caller waits; before they are in a batch, which may run at once."""
        for scope in self.scopes:
            if not scope.is_over:  # of an execution that was interrupted as it ended, or that the caller outlives
                scope.awaited[self] = self

    def end_wait(self) -> None:
        """Note that the caller waits no longer; harmless if that is known."""
        for scope in self.scopes:
            scope.awaited.pop(self, None)

    def waits_for(self) -> Collection[Awaited]:
        """See Awaited."""
        batch = self.batch
        return () if batch is None else (batch.scope,)
