"""Batch results: what a batch function returned, dealt out to those who asked.

A mapping answers by key, a sequence in the order in which it was asked. What is
wrong with one answer is that one's error; what is wrong with all of them (no mapping and no
sequence, or one of another length, of which nobody can tell whose answers are
missing) is everybody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BatchResultError, MissingResultError
from .batch import BatchPlace
from .exception_copy import copy_for_raise, traceback_of, with_traceback
from .exception_groups import is_a


def deal(name: str, places: list[BatchPlace], answers: Any) -> None:
    """Give each of *places* what *answers*, of the batch function called *name*, has for it."""
    if isinstance(answers, Mapping):
        for place in places:
            _deal_one(name, place, answers)
    elif not isinstance(answers, Sequence) or isinstance(answers, (str, bytes, bytearray, memoryview)):
        fail(places, BatchResultError(name, f"a mapping or a sequence was expected, not {type(answers).__name__}"))
    elif len(answers) != len(places):
        fail(places, BatchResultError(name, f"{len(answers)} answers to {len(places)} items; a batch function that "
                                            "leaves some out must return a mapping"))
    else:
        for place, answer in zip(places, answers, strict=True):
            _give(name, place, answer)


def _deal_one(name: str, place: BatchPlace, answers: Mapping[Any, Any]) -> None:
    try:
        answer = answers[place.key]  # a defaultdict and a Counter have an answer to everything
    except KeyError:
        place.error, place.trace = MissingResultError(name, place.item), None
    except Exception as error:  # noqa: BLE001 - a mapping of the user's: what it raises is this one's answer
        place.error, place.trace = error, traceback_of(error)
    else:
        _give(name, place, answer)


def _give(name: str, place: BatchPlace, answer: Any) -> None:
    if not issubclass(type(answer), BaseException):
        place.answer, place.error = answer, None  # an interrupted attempt may have left one
    elif is_a(answer, Exception):
        place.error, place.trace = answer, traceback_of(answer)
    else:  # gather() returns cancellations; raised, one would seem the caller's own
        missing = MissingResultError(name, place.item)
        missing.__cause__ = answer
        place.error, place.trace = missing, None


def fail(places: list[BatchPlace], error: Exception, trace: Any = None) -> None:
    """Give all of *places* one *error*, and the traceback to raise it with."""
    with_traceback(error, trace)  # not the frame of ours that dealt it out
    for place in places:
        place.error, place.trace = error, trace


def outcome(place: BatchPlace) -> Any:
    """The answer, for one of the place's callers.

    Raises:
        Exception: The item's error. Each caller gets a copy,
            for what is raised collects a traceback, a context and notes.
    """
    if place.error is None:
        return place.answer
    raise with_traceback(copy_for_raise(place.error, place.trace), place.trace)
