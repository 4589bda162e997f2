"""What outlives a restart of the process: a circuit's state, as plain numbers and words.

Monotonic clocks begin anew with the machine, so nothing here is a time of day:
a wait is kept as what was left of it, and whoever restores says how much time
has gone by since. A half-open circuit is kept as an open one whose wait is over:
its probes did not survive. Counts come back as if made at the moment of the
restore, unless the time gone by is longer than the window.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import attrs

from ..errors import ConfigError
from .checks import as_tuple, number, one_of
from .events import State
from .plain_numbers import bare_numbers, is_number, keep


def _counts(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not (isinstance(value, tuple) and len(value) == 4
            and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 1_000_000_000 for n in value)):
        raise ConfigError(f"{attribute.name} must be four whole numbers, not {value!r}", attribute.name)
    keep(instance, attribute, value, bare_numbers(value))


def check_elapsed(elapsed: Any) -> None:
    """See that *elapsed* is the time since a circuit was saved, which may be without end.

    Raises:
        ConfigError: It is no number of seconds.
    """
    if not is_number(elapsed) and elapsed not in (inf, -inf):
        raise ConfigError(f"elapsed must be a number of seconds, not {elapsed!r}", "elapsed")


@attrs.frozen(kw_only=True)
class CircuitCheckpoint:
    """One circuit, as it is kept over a restart.

    Attributes:
        state: What it did with calls; "half_open" is kept as "open".
        remaining: Seconds left of an open circuit's wait.
        openings: In a row, without a recovery: what ``open_growth`` goes by.
        counts: Good, bad, slow and good, slow and bad calls in a closed circuit's window.
    """

    state: str = attrs.field(validator=one_of(*State))
    remaining: float = attrs.field(default=0.0, validator=number(least=0))
    openings: int = attrs.field(default=0, validator=number(least=0, whole=True))
    counts: tuple[int, ...] = attrs.field(default=(0, 0, 0, 0), converter=as_tuple, validator=_counts)


def checkpoint_of(key: str, saved: Mapping[str, Any]) -> CircuitCheckpoint:
    """What the command *key* has *saved*.

    Raises:
        ConfigError: It is not what save() returns.
    """
    try:
        return CircuitCheckpoint(**saved)
    except (TypeError, ConfigError) as error:
        why, option = (f": {error}", error.option) if isinstance(error, ConfigError) else ("", "saved")
        raise ConfigError(f"{key}: saved must be what save() returns, such as {{'state': 'open', 'remaining': 3.0}}, "
                          f"not {saved!r}{why}", option) from None
