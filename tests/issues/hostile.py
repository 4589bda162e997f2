"""Exceptions whose classes forbid what a library might do to them, or answer it in a way of their own."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    status: int = 503


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    status: int = 503


class Slots(Exception):
    __slots__ = ("status",)


class MessageInInit(Exception):
    def __init__(self, status=503):
        super().__init__(f"API error {status}")


class KeywordsOnly(Exception):
    def __init__(self, *, status=503):
        super().__init__(status)
        self.status = status


class OddOsError(OSError):
    def __init__(self, status=503):
        super().__init__(f"HTTP {status}")


class OddNew(Exception):
    def __new__(cls):
        return super().__new__(cls, "made")

    def __init__(self):
        pass


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no str")

    __repr__ = __str__


class Incomparable(Exception):
    def __eq__(self, other):
        raise RuntimeError("no ==")

    def __hash__(self):
        raise RuntimeError("no hash")

    def __bool__(self):
        raise RuntimeError("no truth")


class NotesAreText(Exception):
    __notes__ = "not a list"


class NotesRaise(Exception):
    @property
    def __notes__(self):
        raise RuntimeError("no notes")


class NoteRaises(Exception):
    def add_note(self, note):
        raise RuntimeError("no notes")


class NothingCanBeSet(Exception):
    def __setattr__(self, name, value):
        raise RuntimeError(f"{name} cannot be set")

    def __delattr__(self, name):
        raise RuntimeError(f"{name} cannot be deleted")


class NothingCanBeRead(Exception):
    def __getattribute__(self, name):
        raise RuntimeError(f"{name} cannot be read")

    def __setattr__(self, name, value):
        raise RuntimeError(f"{name} cannot be set")


class Properties(Exception):
    def _refuse(self, *args):
        raise RuntimeError("a property that raises")

    __class__ = __dict__ = __traceback__ = __cause__ = __context__ = args = property(_refuse, _refuse)
    retry_after = response = key = timeout = status = property(_refuse, _refuse)


class Uncopyable(Exception):
    def __copy__(self):
        raise RuntimeError("no copies")

    def __reduce_ex__(self, protocol):
        raise RuntimeError("no copies")

    __reduce__ = __deepcopy__ = __reduce_ex__


class CopiesItself(Exception):
    def __copy__(self):
        return self


class HugeRetryAfter(Exception):
    retry_after = 10 ** 400


class OddTimeout(TimeoutError):
    def __init__(self):
        self.args = ("late", object())


class OddGroup(ExceptionGroup):
    exceptions = property(lambda self: 1 / 0)

    def __new__(cls):
        return super().__new__(cls, "parts", [ValueError("part")])

    def __init__(self):
        self.status = 503


def _loop():
    error = ValueError("its own cause")
    error.__cause__ = error
    return error


def _circle():
    one, other = KeyError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    one.__context__, other.__context__ = other, one
    return one


#: What makes one of each.
MAKERS = {each.__name__: each for each in (
    Frozen, FrozenSlots, Slots, MessageInInit, KeywordsOnly, OddOsError, OddNew, Unprintable, Incomparable, NotesAreText,
    NotesRaise, NoteRaises, NothingCanBeSet, NothingCanBeRead, Properties, Uncopyable, CopiesItself, HugeRetryAfter,
    OddTimeout, OddGroup)} | {"its own cause": _loop, "circle of causes": _circle}


def ended(call):
    """What *call* returned, or the exception that it raised.

    A test that lets one of these through, or compares it in an ``assert``, breaks pytest, which wants to show it.
    """
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error


def check_same(found, raised, where=""):
    """Like ``assert found is raised``."""
    if found is not raised:
        raise AssertionError(f"{where}: {type(found).__name__} instead of {type(raised).__name__}")
