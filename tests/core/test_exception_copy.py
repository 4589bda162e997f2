"""Copies of exceptions: what they have of the original, how deep they go, and when there is none."""

import copy

import pytest

from resilience.core import exception_copy
from resilience.core.exception_copy import copy_for_raise, copy_without_traceback, traceback_of, with_traceback


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


def caused(error, cause):
    error.__cause__ = cause
    return error


class Slots(Exception):
    __slots__ = ("status", "unset")


class SlotsToo(Slots):
    __slots__ = ("more",)


class Unslotted(Slots):
    """Has a ``__dict__`` and can be referred to weakly."""


class Weak(Exception):
    __slots__ = ("__weakref__", "status")


class Plain(Exception):
    """One of Python's own kind."""


@pytest.mark.parametrize("kind", [Slots, SlotsToo, Unslotted, Weak])
def test_what_is_in_slots_is_handed_over_and_what_was_never_set_stays_unset(kind):
    error = kind("down")
    error.status = 503
    twin = copy_for_raise(error, None)

    assert (False, kind, 503, ("down",)) == (twin is error, type(twin), twin.status, twin.args)
    assert not hasattr(twin, "unset")


def test_a_copy_to_raise_has_cause_context_and_the_traceback_it_is_given():
    error = raised(caused(OSError("down"), KeyError("cause")))
    error.__context__ = ValueError("context")
    trace = raised(ValueError()).__traceback__
    twin = copy_for_raise(error, trace)

    assert (error.__cause__, error.__context__, True) == (twin.__cause__, twin.__context__, twin.__suppress_context__)
    assert twin.__traceback__ is trace is not error.__traceback__
    error.__suppress_context__ = False
    assert not copy_for_raise(error, None).__suppress_context__
    assert not copy_without_traceback(error).__suppress_context__
    error.__suppress_context__ = True
    assert copy_without_traceback(error).__suppress_context__


def test_a_traceback_is_read_and_set():
    error = raised(OSError("down"))
    trace = error.__traceback__

    assert (trace, error, None) == (traceback_of(error), with_traceback(error, None), error.__traceback__)
    assert with_traceback(error, trace).__traceback__ is trace


def causes(error):
    found = []
    while error is not None:
        found.append(error.args[0])
        error = error.__cause__
    return found


def chain(length):
    error = None
    for n in reversed(range(length)):
        error = caused(Plain(n), error)
    return error


@pytest.mark.parametrize(("length", "kept"), [(1, 1), (3, 3), (9, 9), (10, 9), (20, 9)])
def test_a_copy_to_keep_has_copies_of_eight_causes_and_no_traceback(length, kept):
    error = chain(length)
    raised(error)
    twin = copy_without_traceback(error)

    assert list(range(kept)) == causes(twin)
    assert twin.__traceback__ is None
    assert length == 1 or twin.__cause__ is not error.__cause__


def nested(depth):
    error = raised(Plain("leaf"))
    for n in range(depth):
        error = ExceptionGroup(f"{n}", [error])
    return error


@pytest.mark.parametrize(("depth", "kept"), [(1, True), (8, True), (9, False)])
def test_a_group_is_copied_with_its_parts_to_the_same_depth_or_not_at_all(depth, kept):
    twin = copy_without_traceback(nested(depth))

    assert kept is (twin is not None)
    if kept:
        for n in reversed(range(depth)):
            assert (f"{n}", (f"{n}", [twin.exceptions[0]]), 1) == (twin.message, twin.args, len(twin.exceptions))
            twin = twin.exceptions[0]
        assert (("leaf",), None) == (twin.args, twin.__traceback__)


def test_a_group_to_raise_has_the_very_parts():
    parts = [raised(Plain("one")), Plain("two")]
    error = ExceptionGroup("both", parts)
    twin = copy_for_raise(error, None)

    assert (error.args, tuple(parts), "both") == (twin.args, twin.exceptions, twin.message)
    assert twin.exceptions[0].__traceback__ is not None


@pytest.fixture
def written_in_c(monkeypatch):
    """Let each class that is none of Python's own have state that nobody sees, as one written in C may."""
    handed_over = exception_copy._handed_over

    def not_by_us(error, parts):
        if type(error).__module__ != "builtins":
            raise TypeError(f"{type(error).__name__} is not written in Python")
        return handed_over(error, parts)

    monkeypatch.setattr(exception_copy, "_handed_over", not_by_us)


@pytest.mark.usefixtures("written_in_c")
@pytest.mark.parametrize(("make", "copied"), [
    (lambda error: Plain(*error.args), True), (lambda error: error, False), (lambda error: OSError(*error.args), False),
    (lambda error: Plain(), False), (lambda error: Plain(*error.args, 2), False), (lambda error: Plain([]), False),
    (lambda error: 1 / 0, False)])
def test_where_only_the_class_can_copy_its_answer_is_taken_if_it_says_the_very_same(make, copied, monkeypatch):
    error = Plain([])
    monkeypatch.setattr(copy, "copy", make)
    twin = copy_for_raise(error, None)

    assert (Plain, copied) == (type(twin), twin is not error)
    assert copied is (copy_without_traceback(error) is not None)


@pytest.mark.usefixtures("written_in_c")
def test_what_cannot_be_copied_is_raised_itself_and_not_kept_nor_a_group_of_it_nor_as_a_cause(monkeypatch):
    stubborn = Plain("x")
    monkeypatch.setattr(copy, "copy", lambda error: error)

    assert copy_for_raise(stubborn, None) is stubborn
    assert copy_without_traceback(stubborn) is None
    assert copy_without_traceback(ExceptionGroup("g", [OSError("fine"), stubborn])) is None
    assert copy_without_traceback(caused(OSError("fine"), stubborn)).__cause__ is None


class OwnGroup(ExceptionGroup):
    """A group of a class that only itself could copy."""

    __slots__ = ("status",)


@pytest.mark.usefixtures("written_in_c")
def test_a_group_that_only_its_class_could_copy_is_not_kept_for_its_parts_would_be_the_original_ones():
    assert copy_without_traceback(OwnGroup("g", [OSError("down")])) is None


class OwnInit(OSError):
    """Says what to say itself, and lets nobody copy it."""

    def __init__(self, path):
        super().__init__(2, "none", path)

    def __copy__(self):
        raise ValueError

    __reduce__ = __copy__


def test_an_os_error_says_of_itself_what_it_was_told():
    for error in (OwnInit("/a"), ConnectionRefusedError(111, "refused"), OSError(2, "none", b"/a"),
                  FileNotFoundError(2, "none", "/a", None, "/b"), BlockingIOError(11, "busy", 7), OSError("text"), OSError()):
        twin = copy_for_raise(error, None)
        assert (type(error), str(error), error.args, False) == (type(twin), str(twin), twin.args, twin is error)
        assert [getattr(error, name, "none") for name in ("errno", "strerror", "filename", "filename2", "characters_written")] == [
            getattr(twin, name, "none") for name in ("errno", "strerror", "filename", "filename2", "characters_written")]


def test_notes_are_copied_if_they_are_a_list():
    error, odd = Plain(), Plain()
    error.add_note("before")
    odd.__notes__ = ("tuple",)
    twin = copy_for_raise(error, None)
    twin.add_note("after")

    assert (["before"], ["before", "after"], ("tuple",)) == (error.__notes__, twin.__notes__, copy_for_raise(odd, None).__notes__)
