"""FailoverState: one call's way through the targets of a failover (failover.py).

One call asks each target at most once to run the function. It goes to the first that is available, in the order in
which they are written, or by chance in proportion to their weights. What fails goes on to the next, if the budget
allows it. Refusals are passed over; they are neither failures nor paid for. If every target refuses, and none has run
the function, the call may wait for the one that will admit calls soonest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import Any, Final

from .budget import Budget
from .failover import Rest, RestTerm

_LEAST_WAIT_S: Final = 0.005  # for a refusal that says "ask again now", such as that of a half-open circuit


class FailoverState:
    """One call's way through the targets: pure, told the time and the random number. It belongs to one call.

    Attributes:
        failed: How many targets ran the function and failed.
        target: Index of the target that is called; None: none is left, or not yet.
        pause: Seconds to wait before resume(); 0: there is nothing to wait for.
        bound: What is in the way of another target, in words; empty: they have all been tried.
    """

    __slots__ = ("_budget", "_is_paid", "_names", "_permit", "_refused_until", "_rests", "_tried", "_waited", "bound",
                 "failed", "pause", "target")

    def __init__(self, rests: Sequence[Rest], budget: Budget | None, names: tuple[str, ...]) -> None:
        """A way that has not begun, through the targets of these *names*, whose policy is that of their rests."""
        self._rests, self._budget, self._names = rests, budget, names
        self._tried: set[int] = set()
        self._refused_until: dict[int, float] = {}
        self._permit: RestTerm | None = None
        self._waited = 0.0
        self._is_paid = False
        self.failed, self.pause, self.bound = 0, 0.0, ""
        self.target: int | None = None

    def begin(self, now: float, u: float, avoid: Collection[int] = ()) -> None:
        """Choose the first target, by a random number *u* in [0, 1); if possible none of those to *avoid*."""
        self._choose(now, u, avoid)

    def at_first(self) -> None:
        """The first target was called without a question, for it was calm."""
        self.target = 0

    def succeeded(self, now: float) -> None:
        """The call of the target has succeeded."""
        self._settled(True, now)

    def left(self, now: float) -> None:
        """The call has ended otherwise, in a way that says nothing about the target."""
        self._settled(None, now)

    def after_failure(self, is_down: bool, asked: float | None, now: float, u: float, left: float | None = None,
                      avoid: Collection[int] = (), *, is_excused: bool = False) -> None:
        """The target ran the function, which failed; choose the next.

        Args:
            is_down: Whether it is known to be down: its circuit has opened, or there is none to say.
            asked: Of one that is well and busy: seconds for which it asks to be left alone, 0 if it does not say; None:
                it is not busy.
            now: The time.
            u: A random number in [0, 1).
            left: Seconds that the caller's deadline leaves; None: there is no deadline.
            avoid: Targets to choose only if there are no others.
            is_excused: Whether the failure says nothing about the target, as in a process that stood still.
        """
        index = self._current()
        rest = self._rests[index]
        self._settled(None if is_excused or asked is not None else False, now)
        self._tried.add(index)
        self.failed += 1
        self._is_paid = False  # what was paid for has been had
        if asked is not None:
            rest.pause(asked, now)
        elif is_down:
            rest.stop(now)
        if len(self._tried) + len(self._refused_until) == len(self._rests):
            return
        if left is not None and left <= 0.0:
            self.bound = "the caller's deadline leaves no time for another target"
            return
        if self._budget is not None and not self._budget.withdraw(now):
            self.bound = "its budget allows no other target"
            return
        self._is_paid = self._budget is not None
        self._choose(now, u, avoid)

    def after_refusal(self, is_down: bool, retry_after: float | None, now: float, u: float, left: float | None,
                      avoid: Collection[int] = ()) -> None:
        """The target refused the call, so that the function did not run there; choose the next, or a pause.

        Args:
            is_down: Whether it refused because its circuit is open.
            retry_after: Seconds until it may admit a call; None: it does not say.
            now: The time.
            u: A random number in [0, 1).
            left: Seconds that the caller's deadline leaves; None: there is no deadline.
            avoid: Targets to choose only if there are no others.
        """
        index = self._current()
        self._settled(False if is_down else None, now)
        self._refused_until[index] = inf if retry_after is None else now + retry_after
        if is_down:
            self._rests[index].stop(now)
        if len(self._tried) + len(self._refused_until) < len(self._rests):
            self._choose(now, u, avoid)
        elif self.failed:
            self.give_back()
        else:
            self._wait(now, left)

    def resume(self, now: float, u: float, avoid: Collection[int] = ()) -> None:
        """The pause has passed: all may be asked again."""
        self.pause = 0.0
        self._refused_until.clear()
        self._choose(now, u, avoid)

    def give_back(self) -> None:
        """What was paid for a further target that did not run the function comes back into the budget."""
        if self._is_paid and self._budget is not None:
            self._is_paid = False
            self._budget.refund()

    # -- within

    def _current(self) -> int:
        assert self.target is not None
        return self.target

    def _settled(self, good: bool | None, now: float) -> None:
        if self.target is not None:
            permit, self._permit = self._permit, None
            self._rests[self.target].settle(permit, good, now)
            self.target = None

    def _wait(self, now: float, left: float | None) -> None:
        """Wait for the one that refuses no longer soonest, if that is allowed and soon enough."""
        most = self._rests[0].config.max_wait
        wait = max(_LEAST_WAIT_S, min(self._refused_until.values()) - now)
        if wait == inf:
            return
        if most is None and left is None:
            return
        if most is not None and self._waited + wait > most:
            self.bound = "" if most == 0 else f"max_wait ({most:g} s) is too short to wait for one"
        elif left is not None and wait >= left:
            self.bound = "the caller's deadline leaves no time to wait for one"
        else:
            self._waited += wait
            self.pause = wait

    def _choose(self, now: float, u: float, avoid: Collection[int]) -> None:
        open_to = [index for index in range(len(self._rests))
                   if index not in self._tried and index not in self._refused_until]
        weights = shares(self._rests[0].config, self._names)
        apart = [index for index in open_to if index not in avoid]
        for pool in (apart, [index for index in open_to if index in avoid]):
            while pool:
                place, u = (0, u) if weights is None else _drawn([weights[index] for index in pool], u)
                index = pool.pop(place)
                permit = self._rests[index].ask(now)
                if permit is not None:
                    self.target, self._permit = index, permit
                    return
        if open_to:  # as a last resort, one that rests
            self.target = min(open_to, key=lambda index: self._rests[index].until)


def shares(config: Any, names: tuple[str, ...]) -> Sequence[float] | None:
    """The weights that the failover *config* gives the targets of these *names*, in their order; None: there are none.

    A call that is under way while its failover is declared anew may know targets that this one has not: they get 0.
    """
    weights: tuple[float, ...] | None = config.weights
    if weights is None or names is config.targets or names == config.targets:
        return weights
    known = dict(zip(config.targets, weights, strict=True))
    return [known.get(each, 0.0) for each in names]


def _drawn(weights: Sequence[float], u: float) -> tuple[int, float]:
    """The place that a random number *u* hits where each has its share, and where in that share, again in [0, 1)."""
    at = u * sum(weights)
    for place, weight in enumerate(weights):
        if at < weight:
            return place, at / weight
        at -= weight
    return max(range(len(weights)), key=weights.__getitem__), u  # all are 0, or rounding
