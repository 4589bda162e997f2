"""Rate limit: what a user says of how many calls may begin in how much time. The machine is core.rate_limiter."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import attrs

from .callable_identity import by_identity
from .checks import flag, number, strict
from .rate_cost import IN_FILE, Cost, CostCheck, same_cost
from .references import as_function, function_in_file, function_or_none, in_file


@strict
@attrs.frozen
class RateLimit:
    """Rate limit policy: admits ``calls`` calls every ``per`` seconds, and delays or refuses those beyond.

    It follows the generic cell rate algorithm (GCRA). Immutable: any number of commands and threads may share one.

    Attributes:
        calls: Number of calls that are admitted in ``per`` seconds.
        per: Length of that period, seconds.
        burst: Number of calls that may begin at once after a pause; None: as many as ``calls``; 1: calls are evenly
            spaced.
        max_wait: Longest time that a call may wait for its turn, seconds; 0: a call that would have to wait is refused.
        by: Function that is called with the call's arguments and returns a key, such as a user or tenant. Each key has
            a limit of its own; None: all calls share one.
        max_keys: Number of keys that are remembered.
        adaptive: Whether the rate follows what the target bears (AIMD): it falls to 70 % when a call finds the target
            busy, as the command's failure rules say, and grows by 5 % of ``calls`` in each second in which a call
            succeeds, up to ``calls``.
        cost: Number of units that a call takes, as estimated before it: a number, or a function that is called with the
            call's arguments and returns one. ``calls`` and ``burst`` count units then.
        true_cost: Function that is called with the result of a call, or with the last item of a stream, and returns
            how many units the call really took. The difference from ``cost`` is settled; None: the estimate stands.
    """

    calls: int = attrs.field(validator=number(least=1, most=1_000_000_000, whole=True))
    per: float = attrs.field(default=1.0, kw_only=True, validator=number(least=0.001, most=86_400))
    burst: int | None = attrs.field(
        default=None, kw_only=True, validator=number(least=1, most=1_000_000_000, whole=True, optional=True))
    max_wait: float = attrs.field(default=0.0, kw_only=True, validator=number(least=0, most=86_400))
    by: Callable[..., Hashable] | None = attrs.field(
        default=None, kw_only=True, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())
    max_keys: int = attrs.field(default=10_000, kw_only=True, validator=number(least=1, most=1_000_000, whole=True))
    adaptive: bool = attrs.field(default=False, kw_only=True, validator=flag)
    cost: Cost = attrs.field(default=1, kw_only=True, converter=as_function, validator=CostCheck(), eq=same_cost,
                             metadata=in_file(float | str, IN_FILE))
    true_cost: Callable[[Any], float] | None = attrs.field(
        default=None, kw_only=True, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())


def has_cost(limit: RateLimit) -> bool:
    """Whether calls are told apart by what they cost."""
    return callable(limit.cost) or limit.cost != 1 or limit.true_cost is not None


def is_written_out(limit: RateLimit) -> bool:
    """Whether a call that need not wait is told so by two numbers alone, in the wrapper's text."""
    return limit.by is None and not has_cost(limit)
