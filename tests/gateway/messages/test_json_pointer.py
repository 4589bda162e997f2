"""Places in a JSON value are found, changed and removed as RFC 6901 says."""

import copy
import random

import pytest

from resilience.gateway.messages.json_pointer import MISSING, found, parsed, pointer_mistake, put, without, written


def places(value, steps=()):
    """Every place in a value, by brute force."""
    yield steps, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*steps, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*steps, str(index)))


def some_value(rng, depth=3):
    kind = rng.randrange(4 if depth else 2)
    if kind < 2:
        return rng.randrange(100)
    if kind == 2:
        return [some_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["a", "b/c", "~", "", "0", "~1", "é"]): some_value(rng, depth - 1) for _ in range(rng.randrange(4))}


def test_the_examples_of_the_standard_are_found():
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
    for pointer, value in {"": document, "/foo": ["bar", "baz"], "/foo/0": "bar", "/": 0, "/a~1b": 1, "/c%d": 2, "/e^f": 3,
                           "/g|h": 4, "/i\\j": 5, '/k"l': 6, "/ ": 7, "/m~0n": 8}.items():
        assert found(document, parsed(pointer)) == value
        assert written(parsed(pointer)) == pointer


def test_every_place_of_a_random_value_is_found_changed_and_removed_and_nothing_else_is_touched():
    for seed in range(500):
        value = some_value(random.Random(seed))
        for steps, here in places(value):
            assert parsed(written(steps)) == steps
            assert found(value, steps) is here
            changed = put(copy.deepcopy(value), steps, "new")
            assert found(changed, steps) == "new"
            others = [place for place, _ in places(value) if place[: len(steps)] != steps and steps[: len(place)] != place]
            assert all(found(changed, place) == found(value, place) for place in others)
            rest = without(copy.deepcopy(value), steps)
            if not steps:
                assert rest is MISSING
            elif isinstance(found(value, steps[:-1]), dict):
                assert found(rest, steps) is MISSING
            else:
                assert len(found(rest, steps[:-1])) == len(found(value, steps[:-1])) - 1


def test_objects_on_the_way_are_made_and_a_dash_is_the_place_after_the_last():
    assert put({}, ("a", "b"), 1) == {"a": {"b": 1}}
    assert put({"a": [1]}, ("a", "-"), 2) == {"a": [1, 2]}
    assert put({}, ("a", "-", "b"), 2) == {"a": [{"b": 2}]}


@pytest.mark.parametrize("steps", [("a", "2"), ("a", "01"), ("a", "x"), ("s", "x"), ("s", "0", "x"), ("a", "-1")])
def test_a_place_that_cannot_be_is_refused(steps):
    with pytest.raises(LookupError):
        put({"a": [1, 2], "s": "text"}, steps, 0)


def test_what_is_not_there_is_missing_and_removing_it_changes_nothing():
    value = {"a": [1], "s": "text", "n": None}
    for steps in (("b",), ("a", "1"), ("a", "-"), ("a", "-1"), ("a", "00"), ("s", "0"), ("n", "x"), ("b", "c", "d")):
        assert found(value, steps) is MISSING
        assert without(copy.deepcopy(value), steps) == value
    assert found(value, ("n",)) is None


def test_a_malformed_pointer_has_a_mistake():
    assert [pointer for pointer in ("a", "/~2", "/a~", 3, None, "#/a") if pointer_mistake(pointer) is None] == []
    assert [pointer for pointer in ("", "/", "/a/b", "/~0~1") if pointer_mistake(pointer) is not None] == []
