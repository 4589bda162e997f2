"""Wait-for graph: who waits for whom among calls that share executions, batches and threads, so that none hangs.

Its nodes are of three kinds:

- a *scope*: one execution whose calls may wait, such as one that others follow, the run of a batch, or a call on a
  thread of a shared pool. Which scopes a call belongs to is known by a context variable, and so in tasks and worker
  threads too. It holds scopes, and not what they belong to: a task that was begun within an execution may outlive it,
  and its context must not keep an answer;
- what a scope waits for on behalf of its calls: an execution to follow, a place in a batch. It passes on whose end it
  waits for, which may change meanwhile;
- a shared pool of threads, in whose queue calls wait.

A scope is held up as soon as one thing that it waits for is, since its code most likely needs all of them. A pool is
held up only if it has no free thread and every call on its threads is: one that ends frees a thread for whoever waits.

Whoever is about to wait notes that first, and then looks whether those for whom they would wait are held up by
themselves. So of several that close a circle at once, at least one sees it, and does not wait. What is not known is a
wait by other means, such as a future of somebody else's executor to which the context was not handed on.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from contextvars import ContextVar


class Awaited:
    """A node: something that somebody may wait for. Every method may be called from any thread."""

    __slots__ = ()

    def waits_for(self) -> Collection[Awaited]:
        """What it waits for now."""
        raise NotImplementedError

    def is_held_up(self, held_up: Set[Awaited]) -> bool:
        """Whether it cannot end while none of *held_up* does."""
        return any(each in held_up for each in self.waits_for())


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
        """See Awaited."""
        return list(self.awaited.values())


#: The executions that wait for what runs in this context.
scopes: ContextVar[tuple[WaitScope, ...]] = ContextVar("resilience_wait_scopes", default=())


def detach() -> None:
    """Let nobody wait for what is called here from now on."""
    scopes.set(())


def living() -> tuple[WaitScope, ...]:
    """The scopes in force here, without those that are over."""
    return tuple(each for each in scopes.get() if not each.is_over)


def held_up_by(waiting: Collection[Awaited], start: Awaited) -> Set[Awaited]:
    """What cannot end while none of *waiting* does: these, and of what *start* waits for, near and far, some."""
    held_up = set(waiting)
    reached, seen = list(start.waits_for()), {start, *waiting}
    for node in reached:
        if node not in seen:
            seen.add(node)
            reached += node.waits_for()
    found = True
    while found:
        found = False
        for node in reversed(reached):
            if node not in held_up and node.is_held_up(held_up):
                held_up.add(node)
                found = True
    return held_up


def waits_for_itself(waiting: Collection[Awaited], target: Awaited) -> bool:
    """Whether *target* cannot end before those who are *waiting* for it, which have noted so already."""
    return target.is_held_up(held_up_by(waiting, target))
