"""Plans: which part of a composition may be asked when, and what became of each. Pure.

A part is asked as soon as all parts that it needs have answered well. If one of them has not, the part is skipped: a
default stands in for an answer, but nobody is asked on its account.

=========  ==========================================================================
state      meaning
=========  ==========================================================================
ok         it answered well
failed     it answered otherwise, with nonsense or too much, or could not be reached
timeout    it did not answer in time
open       its circuit is open
refused    its command refused the call for another reason: a limit, a throttle
skipped    it was not asked: a part that it needs, or a value, is missing
=========  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from ..messages.json_pointer import MISSING

OK: Final = "ok"
SKIPPED: Final = "skipped"
STATES: Final = (OK, "failed", "timeout", "open", "refused", SKIPPED)


def cycle_in(needs: Mapping[str, Iterable[str]]) -> list[str] | None:
    """The names of a cycle in who *needs* whom, the first of them once more at its end; None: there is no cycle.

    Args:
        needs: By name; names that it does not have need nobody.
    """
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        waiting: list[tuple[str, bool]] = [(start, False)]
        while waiting:
            name, is_left = waiting.pop()
            if is_left:
                path.pop()
                done.add(name)
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                waiting.append((name, True))
                waiting.extend((each, False) for each in needs.get(name, ()))
    return None


@attrs.define
class Outcome:
    """What became of a part.

    Attributes:
        state: One of STATES.
        value: Its answer; MISSING: none.
    """

    state: str
    value: Any = MISSING


class Progress:
    """How far one composition has come. Of one task.

    Attributes:
        outcomes: Of the parts that are done.
    """

    def __init__(self, needs: Mapping[str, Iterable[str]]) -> None:
        """Nothing is asked yet.

        Args:
            needs: Whom each part needs, by name; without cycles.
        """
        self._waiting = {name: set(others) for name, others in needs.items()}
        self.outcomes: dict[str, Outcome] = {}

    def ready(self) -> list[str]:
        """The parts that may be asked now, and have not been named before; those that never will be are skipped."""
        found = []
        is_changed = True
        while is_changed:
            is_changed = False
            for name, others in list(self._waiting.items()):
                outcomes = [self.outcomes.get(other) for other in others]
                if any(outcome is not None and outcome.state != OK for outcome in outcomes):
                    del self._waiting[name]
                    self.outcomes[name] = Outcome(SKIPPED)
                    is_changed = True
                elif None not in outcomes:
                    del self._waiting[name]
                    found.append(name)
        return found

    def settle(self, name: str, outcome: Outcome) -> None:
        """A part that was named by ready() is done."""
        self.outcomes[name] = outcome

    def answers(self) -> dict[str, Any]:
        """The answers of the parts that answered well."""
        return {name: outcome.value for name, outcome in self.outcomes.items() if outcome.state == OK}
