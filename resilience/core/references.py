"""References: "module:Name" in the place of an object, and what a configuration file may write for one.

A field whose values TOML has no words for says in its metadata, by in_file(), what a file writes instead; its
converter makes the object of that.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .checks import callable_or_none


def looked_up(reference: str) -> Any:
    """What "module:Name", or the name of something built in, stands for; imports the module.

    Raises:
        Exception: There is no such thing, or the module cannot be imported; see lost().
    """
    module, _, path = reference.rpartition(":")
    thing: Any = importlib.import_module(module or "builtins")
    for step in path.split("."):
        thing = getattr(thing, step)
    return thing


def lost(error: Exception) -> str:
    """Why looked_up() found nothing, with the nearest name that there is."""
    name, near = getattr(error, "name", None), list[str]()
    if isinstance(error, AttributeError) and isinstance(name, str):
        with contextlib.suppress(Exception):  # of an object that does not say what it has
            near = difflib.get_close_matches(name, dir(error.obj), 1, 0.75)  # any error is near NoSuchError otherwise
    return f"{error}; did you mean {near[0]}?" if near else str(error)


def found(reference: str, name: str) -> Any:
    """What looked_up() finds.

    Raises:
        ConfigError: There is no such thing; *name* says where it was written.
    """
    try:
        return looked_up(reference)
    except Exception as error:
        raise ConfigError(f"{name} {reference!r} cannot be found: {lost(error)}", name) from error


def as_function(value: Any) -> Any:
    """A converter: "module:name" stands for what is there; function_or_none says what is wrong with others."""
    with contextlib.suppress(ConfigError):
        return found(value, "") if isinstance(value, str) else value
    return value


def function_or_none(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator."""
    if isinstance(value, str):
        found(value, attribute.name)
    callable_or_none(_, attribute, value)


@attrs.frozen
class Written:
    """What a file may write for a field, as a validator of the strings and numbers that stand there.

    Attributes:
        pattern: A regular expression of the strings; it means the same to Python and to JSON Schema.
        what: The form, for messages.
        is_list: Whether the field is a list.
        codes: Whether numbers are welcome, as status codes.
    """

    pattern: str
    what: str
    is_list: bool = True
    codes: bool = False

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keywords of JSON Schema for what is accepted."""
        item: dict[str, Any] = {"pattern": self.pattern, **({"minimum": 100, "maximum": 599} if self.codes else {})}
        return {"items": item} if self.is_list else item

    @staticmethod
    def names_code(value: Any) -> bool:
        """Whether *value*, or one of a list, is meant as something in a module, which is imported to find it."""
        return any(isinstance(each, str) and ":" in each
                   for each in (value if isinstance(value, (list, tuple)) else (value,)))

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Raise ConfigError for anything else."""
        for each in value if isinstance(value, tuple) else (value,):
            fits = re.search(self.pattern, each) if isinstance(each, str) else each is None or 100 <= each <= 599
            if not fits:
                raise ConfigError(f"must be {self.what}, not {each!r}", attribute.name)


_NAME: Final = r"[^\W\d]\w*"
_DOTTED: Final = rf"{_NAME}(\.{_NAME})*"
_CODES: Final = r"[1-5](xx|\d\d(-[1-5]\d\d)?)"
FUNCTION: Final = Written(rf"^{_DOTTED}:{_DOTTED}$", '"module:name"', is_list=False)
EXCEPTIONS: Final = Written(rf"^({_DOTTED}:)?{_DOTTED}$", 'built-in exceptions or "module:Name"')
EXCEPTIONS_OR_CODES: Final = Written(rf"^(({_DOTTED}:)?{_DOTTED}|{_CODES})$",
                                     'status codes, built-in exceptions or "module:Name"', codes=True)
STATUSES: Final = Written(rf"^{_CODES}$", 'status codes such as 503, "5xx" or "500-504"', codes=True)


def function_in_file() -> Mapping[str, Any]:
    """Metadata of a field that is a function, or None: a file writes "module:name"."""
    return in_file(str | None, FUNCTION)


def in_file(kind: Any, check: Written) -> Mapping[str, Any]:
    """Metadata of a field that a file writes in another way than code does.

    Args:
        kind: The type of what the file writes.
        check: What it may be.
    """
    return {"in_file": kind, "in_file_check": check, "one_is_enough": check.is_list}
