"""Exception groups: what a policy makes of an exception that stands for several.

``asyncio.TaskGroup`` raises a group even if one task failed alone. So a group is what its
leaves are, at whatever depth; a policy that looked at the group alone would take a
caller's mistake for a failure, and not find the OSError that it is told to try again after.

``matches`` says whether a setting such as ``on`` or ``ignore`` speaks of all of an exception: of the
group itself by its class, or of each of its leaves. A leaf that nobody spoke of is not swallowed along
with its siblings, as ``except*`` would not swallow it. ``holds`` says whether it speaks of
any part, which is enough for a veto such as ``unless``.

Types decide here, as they do in an ``except`` clause: isinstance() would ask the exception for its ``__class__``, which
may be a property that raises. Nor is a group asked for its ``exceptions`` in a way that a subclass could overrule.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeGuard, TypeVar

E = TypeVar("E", bound=BaseException)
Kinds = type[BaseException] | tuple[type[BaseException], ...]

_EXCEPTIONS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]
_MESSAGE: Final[Any] = vars(BaseExceptionGroup)["message"]


def is_a(error: BaseException, kinds: type[E] | tuple[type[E], ...]) -> TypeGuard[E]:
    """Whether ``except kinds`` would catch *error*."""
    return issubclass(type(error), kinds)


def is_group(error: BaseException) -> bool:
    """Whether *error* stands for several."""
    return issubclass(type(error), BaseExceptionGroup)


def message_of(group: BaseException) -> str:
    """What a *group* says of all of its parts."""
    message: str = _MESSAGE.__get__(group)
    return message


def first_leaf(error: BaseException) -> BaseException:
    """The first leaf of *error*; of no group: itself."""
    while is_group(error):
        error = _EXCEPTIONS.__get__(error)[0]
    return error


def parts(error: BaseException, whole: Kinds = ()) -> Iterator[BaseException]:
    """The leaves of *error*, each once; a group of one of the *whole* kinds is given as it is. Of no group: itself."""
    left, seen = [error], {id(error)}
    while left:
        part = left.pop()
        if not is_group(part) or is_a(part, whole):
            yield part
            continue
        for each in reversed(_EXCEPTIONS.__get__(part)):
            if id(each) not in seen:  # one that stands in many groups would be looked at that many times, squared
                seen.add(id(each))
                left.append(each)


def matches(error: BaseException, kinds: Kinds) -> bool:
    """Whether *error* is one of *kinds*, or a group of nothing else."""
    return is_a(error, kinds) or (is_group(error) and all(is_a(part, kinds) for part in parts(error, kinds)))


def holds(error: BaseException, kinds: Kinds) -> bool:
    """Whether *error*, or any part of it, is one of *kinds*."""
    return is_a(error, kinds) or (is_group(error) and any(is_a(part, kinds) for part in parts(error, kinds)))


def is_interrupt(error: BaseException) -> bool:
    """Whether *error* is, or holds, what is no Exception: a cancellation, an exit, a KeyboardInterrupt."""
    return not is_a(error, Exception) and not (is_group(error) and matches(error, Exception))
