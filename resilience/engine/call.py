"""Call: what a policy may know of the call that it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core.parameters import signature_of


class Parameters:
    """Where a function's parameters are found among a call's arguments."""

    __slots__ = ("defaults", "positions")

    def __init__(self, fn: Callable[..., Any]) -> None:
        signature = signature_of(fn)
        parameters = {} if signature is None else signature.parameters
        positional = [name for name, each in parameters.items()
                      if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        self.positions = {name: index for index, name in enumerate(positional)}
        self.defaults = {name: each.default for name, each in parameters.items() if each.default is not each.empty}


class Call:
    """One call, as its caller wrote it.

    Attributes:
        args: Positional arguments; of a method, the instance is the first.
        kwargs: Keyword arguments.
    """

    __slots__ = ("_parameters", "args", "kwargs")

    def __init__(self, parameters: Parameters, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._parameters, self.args, self.kwargs = parameters, args, kwargs

    def argument(self, name: str, default: Any = None) -> Any:
        """Return what the function's parameter *name* gets, by position, by name or from its default.

        Args:
            name: Name of the parameter.
            default: Value to return if the function has no such parameter, or the call gives nothing for it.
        """
        if name in self.kwargs:
            return self.kwargs[name]
        index = self._parameters.positions.get(name)
        if index is not None and index < len(self.args):
            return self.args[index]
        return self._parameters.defaults.get(name, default)
