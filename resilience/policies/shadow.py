"""Shadow: which gates only count what they would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ..core.checks import strict
from ..core.setting_names import nearest
from ..errors import ConfigError
from .order import KITS, kits


def gates() -> tuple[str, ...]:
    """The names of the policies that may be in shadow mode, outermost first."""
    return tuple(kit.name for kit in kits() if kit.can_be_shadow)


def _gates(value: Any) -> Any:
    if isinstance(value, bool):
        return gates() if value else ()
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        return (value,) if value in gates() else value
    named = tuple(value)
    return named if any(each not in gates() for each in named) else tuple(gate for gate in gates() if gate in named)


def _gate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or any(each not in gates() for each in value):
        near = [nearest(each, gates()) for each in value if isinstance(each, str)] if isinstance(value, tuple) else []
        hint = f"; did you mean {', '.join(map(str, near))}?" if near and None not in near else ""
        raise ConfigError(f"{attribute.name} must be True, False or some of {', '.join(gates())}, not {value!r}{hint}",
                          attribute.name)


_gate.json_schema = {  # type: ignore[attr-defined]
    "items": {"enum": [kit.name for kit in KITS if kit.can_be_shadow]}}


@strict
@attrs.frozen
class Shadow:
    """Gates that only count what they would refuse: names of settings, or one name; True: all of them."""

    shadow: tuple[str, ...] = attrs.field(default=(), converter=_gates, validator=_gate)

    def of(self, policies: Sequence[Any], *, named: bool) -> tuple[str, ...]:
        """Return the gates in shadow mode that are among *policies*.

        Raises:
            ConfigError: A gate was *named*, and is not among them.
        """
        present = {type(policy) for policy in policies}
        missing = [kit for kit in kits() if kit.name in self.shadow and kit.policy not in present]
        if missing and named:
            raise ConfigError(f"shadow: there is no {missing[0].policy.__name__} here that could be in shadow mode",
                              "shadow")
        gone = {kit.name for kit in missing}
        return tuple(name for name in self.shadow if name not in gone)
