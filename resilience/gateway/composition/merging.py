"""Merging: one answer of many, and how long it may be kept. Pure.

=========  ==================================================================================
merge      the answer
=========  ==================================================================================
object     an object with each part's answer under the part's name
flat       an object with the members of all parts' objects; of equal names, the later part's
list       an array with the items of all parts' arrays
=========  ==================================================================================

The parts keep the order of the file, not that in which they answered.

A merged answer may be kept no longer, and by no more caches, than each of its parts (RFC 9111). If a part has no
answer of its own, or does not say how long it may be kept, the merged one is not to be kept at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..format.content import values_of
from ..json_pointer import MISSING
from ..upstream import Header

#: What each way of merging wants the parts to be.
WANTED: Final[Mapping[str, type | None]] = {"object": None, "flat": dict, "list": list}
_DIRECTIVE: Final = re.compile(r"([a-z-]+)(?:=(?:\"([^\"]*)\"|([^,;\s]*)))?")
NO_STORE: Final = b"no-store"


def merged(how: str, parts: Iterable[tuple[str, Any]]) -> Any:
    """The answer of these *parts*, names and values in the order of the file.

    Args:
        how: One of WANTED.
        parts: A value that is MISSING is left out; the others are what WANTED says.
    """
    present = [(name, value) for name, value in parts if value is not MISSING]
    if how == "object":
        return dict(present)
    if how == "flat":
        return {name: inner for _, value in present for name, inner in value.items()}
    return [item for _, value in present for item in value]


def suits(how: str, value: Any) -> bool:
    """Whether a part's *value* can be merged in this way."""
    wanted = WANTED[how]
    return wanted is None or isinstance(value, wanted)


def states_field(states: Mapping[str, str]) -> bytes:
    """The states of the parts as a dictionary of RFC 9651: ``order=ok, reviews=open``."""
    return ", ".join(f"{name}={state}" for name, state in states.items()).encode()


def caching(answers: Sequence[Sequence[Header]]) -> list[Header]:
    """The headers about caching for an answer that was merged of answers with these headers, one for each part."""
    kept = [_kept(headers) for headers in answers]
    names = {name.strip().lower() for headers in answers for value in values_of(headers, b"vary")
             for name in value.split(b",") if name.strip()}
    vary = [(b"vary", b", ".join(sorted(names)))] if names else []
    if not kept or b"*" in names or any(each is None for each in kept):
        return [(b"cache-control", NO_STORE), *vary]
    said = [each for each in kept if each is not None]
    words = [word for word in ("private", "no-cache", "must-revalidate") if any(word in words for words, _ in said)]
    words.append(f"max-age={min(age for _, age in said)}")
    return [(b"cache-control", ", ".join(words).encode()), *vary]


def _kept(headers: Sequence[Header]) -> tuple[frozenset[str], int] | None:
    """The directives of an answer, and for how many seconds it may still be kept; None: not at all, or unknown."""
    text = ", ".join(value.decode("latin-1") for value in values_of(headers, b"cache-control")).lower()
    directives = {name: quoted or plain for name, quoted, plain in reversed(_DIRECTIVE.findall(text))}
    age, spent = directives.get("max-age", ""), (values_of(headers, b"age") or [b"0"])[0]
    if "no-store" in directives or not _is_seconds(age) or not _is_seconds(spent.decode("latin-1")):
        return None
    return frozenset(directives), max(0, int(age) - int(spent))


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10
