"""Wait-for graph: who waits for whom among calls that share executions, batches and threads, so that none hangs.

Its nodes are of three kinds:

- a *scope*: one execution whose calls may wait, such as one that others follow, the run of a batch, or a call on a
  thread of a shared pool. Which scopes a call belongs to is known by a context variable, and so in tasks and worker
  threads too. It holds scopes, and not what they belong to: a task that was begun within an execution may outlive it,
  and its context must not keep an answer;
- what a scope waits for on behalf of its calls: an execution to follow, a place in a batch. It passes on whose end it
  waits for, which may change meanwhile;
- a shared pool of threads, in whose queue calls wait.

A scope can end once all that it waits for can, since its code most likely needs all of it. A pool goes on as soon as a
thread is free, or one call on its threads can end. So what can end is found from those on who wait for nobody. (It
would not do to ask what is held up by the one who is about to wait: if all threads of a pool but one wait for the pool
itself, that one can hold it up, and nothing that it waits for leads back to those others.)

Whoever is about to wait notes that first, and then looks whether those for whom they would wait can end without them.
So of several that close a circle at once, at least one sees it, and does not wait. What is not known is a
wait by other means, such as a future of somebody else's executor to which the context was not handed on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Set
from contextvars import ContextVar


class Awaited(ABC):
    """A node: something that somebody may wait for. Every method may be called from any thread."""

    __slots__ = ()

    @abstractmethod
    def waits_for(self) -> Collection[Awaited]:
        """What it waits for now."""

    def can_end(self, awaited: Collection[Awaited], ending: Set[Awaited]) -> bool:
        """Whether it can end if it waits for what is *awaited*, and of that only what is *ending* can."""
        return all(each in ending for each in awaited)


class WaitScope(Awaited):
    """What the calls that are made within one execution wait for.

    Attributes:
        awaited: That, each under a mark of its own.
        is_over: The execution has ended, and nobody waits for it.
        left_to_retry: A retry within it made no further attempt, since another one further out repeats its call.
    """

    __slots__ = ("awaited", "is_over", "left_to_retry")

    def __init__(self) -> None:
        self.awaited: dict[object, Awaited] = {}
        self.is_over = self.left_to_retry = False

    def waits_for(self) -> Collection[Awaited]:
        """See Awaited. Thousands of its calls may wait for one execution, which is looked at once."""
        return set(list(self.awaited.values()))  # noqa: C414 - a list is made at once, whatever other threads do


#: The executions that wait for what runs in this context.
scopes: ContextVar[tuple[WaitScope, ...]] = ContextVar("resilience_wait_scopes", default=())


def detach() -> None:
    """Let nobody wait for what is called here from now on."""
    scopes.set(())


def living() -> tuple[WaitScope, ...]:
    """The scopes in force here, without those that are over."""
    return tuple(each for each in scopes.get() if not each.is_over)


def can_end(target: Awaited, waiting: Collection[Awaited] = ()) -> bool:
    """Whether *target* can end although none of *waiting* can before it, which have noted that they wait."""
    edges: dict[Awaited, Collection[Awaited]] = {}
    reached = [target]
    for node in reached:
        if node not in edges and node not in waiting:
            edges[node] = node.waits_for()
            reached += edges[node]
    ending: set[Awaited] = set()
    found = True
    while found:
        found = False
        for node in reversed(edges):
            if node not in ending and node.can_end(edges[node], ending):
                ending.add(node)
                found = True
    return target in ending
