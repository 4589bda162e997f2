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
answer of its own, or does not say how long it may be kept, the merged one is not to be kept at all. What would let a
cache do more (public, immutable, stale-while-revalidate, stale-if-error) is said by no merged answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..messages.exchange import Header
from ..messages.json_pointer import MISSING
from ..messages.named_values import header_values

#: What each way of merging wants the parts to be.
WANTED: Final[Mapping[str, type | None]] = {"object": None, "flat": dict, "list": list}
_DIRECTIVE: Final = re.compile(r"([a-z-]+)(?:=(?:\"([^\"]*)\"|([^,;\s]*)))?")
NO_STORE: Final = b"no-store"
#: Whose answer is not kept. The merged one has another status than its parts may have had (must-understand).
_FORBIDDING: Final = frozenset({"no-store", "must-understand"})
#: What lets a shared cache keep the answer to a request with credentials (RFC 9111, 3.5).
_SHARING: Final = frozenset({"public", "must-revalidate", "s-maxage"})
#: Headers of a part that the merged answer does not have, and because of which shared caches may not keep the part, or
#: not as Cache-Control says: what sets a cookie is perhaps of a session, and some caches are told apart from the others
#: (RFC 9213), as by CDN-Cache-Control.
_NOT_SHARED: Final = frozenset({b"set-cookie", b"surrogate-control"})


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


def caching(answers: Sequence[Sequence[Header]], *, authorized: bool = False) -> list[Header]:
    """The headers about caching for an answer that was merged of answers with these headers, one for each part.

    Args:
        answers: One for each part.
        authorized: Whether the client has said who it is. A shared cache may then keep only what says that it may
            (RFC 9111, 3.5); the word of one part is not the word of the others.
    """
    kept = [_kept(headers) for headers in answers]
    names = {name.strip().lower() for headers in answers for value in header_values(headers, b"vary")
             for name in value.split(b",") if name.strip()}
    vary = [(b"vary", b", ".join(sorted(names)))] if names else []
    said = [each for each in kept if each is not None]
    if len(said) < len(kept) or not said or b"*" in names:
        return [(b"cache-control", NO_STORE), *vary]
    found = frozenset[str]().union(*(each.directives for each in said))
    max_age, shared_max_age = min(each.max_age for each in said), min(each.shared_max_age for each in said)
    is_private = "private" in found or (authorized and not all(_SHARING & each.directives for each in said))
    words: list[str] = [word for word in ("no-cache", "must-revalidate") if word in found]
    if is_private:
        words.insert(0, "private")
    elif "must-revalidate" not in found and not found.isdisjoint(("proxy-revalidate", "s-maxage")):
        words.append("proxy-revalidate")  # which s-maxage says, too (RFC 9111, 5.2.2.10)
    words.append(f"max-age={max_age}")
    if shared_max_age < max_age and not is_private:
        words.append(f"s-maxage={shared_max_age}")
    return [(b"cache-control", ", ".join(words).encode()), *vary]


@attrs.frozen
class _Kept:
    """How an answer may be kept.

    Attributes:
        directives: Of Cache-Control; "private" as well for what is not for shared caches by another header.
        max_age: For how many seconds more.
        shared_max_age: The same for a shared cache.
    """

    directives: frozenset[str]
    max_age: int
    shared_max_age: int


def _kept(headers: Sequence[Header]) -> _Kept | None:
    """How an answer may be kept; None: not at all, or unknown."""
    text = ", ".join(value.decode("latin-1") for value in header_values(headers, b"cache-control")).lower()
    directives = {name: quoted or plain for name, quoted, plain in reversed(_DIRECTIVE.findall(text))}
    max_age = directives.get("max-age", "")
    shared = directives.get("s-maxage", max_age)
    ages = [value.decode("latin-1") for value in header_values(headers, b"age")] or ["0"]
    if not _FORBIDDING.isdisjoint(directives) or not all(map(_is_seconds, (max_age, shared, *ages))):
        return None
    found, age = set(directives), max(map(int, ages))
    if any(name in _NOT_SHARED or name.endswith(b"-cache-control") for name, _ in headers):
        found.add("private")
    return _Kept(frozenset(found), max(0, int(max_age) - age), max(0, int(shared) - age))


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10
