"""Answers are merged in the order of the file, and kept no longer than each of them may be."""

import json
import random

from resilience.gateway.composition.merging import caching, merged, states_field, suits
from resilience.gateway.messages.json_pointer import MISSING


def some_value(rng):
    return rng.choice([1, "x", None, [], [1, 2], {}, {"a": 1}, {"a": 2, "b": []}, MISSING])


def slow_merge(how, parts):
    result = {} if how != "list" else []
    for name, value in parts:
        if value is MISSING:
            continue
        if how == "object":
            result[name] = value
        elif how == "flat":
            for key in value:
                result[key] = value[key]
        else:
            for item in value:
                result.append(item)
    return result


def test_random_answers_are_merged_as_by_hand():
    for seed in range(2000):
        rng = random.Random(seed)
        how = rng.choice(["object", "flat", "list"])
        parts = [(f"p{index}", value) for index in range(rng.randrange(6))
                 if (value := some_value(rng)) is MISSING or suits(how, value)]
        assert json.dumps(merged(how, parts)) == json.dumps(slow_merge(how, parts))


def test_only_what_can_be_merged_suits():
    assert [how for how in ("object", "flat", "list") if suits(how, {"a": 1})] == ["object", "flat"]
    assert [how for how in ("object", "flat", "list") if suits(how, [1])] == ["object", "list"]
    assert [how for how in ("object", "flat", "list") if suits(how, None)] == ["object"]


def test_the_states_are_a_dictionary_of_tokens():
    assert states_field({"order": "ok", "the-reviews": "open"}) == b"order=ok, the-reviews=open"


def control(*values, age=None, vary=None):
    lines = [(b"cache-control", value) for value in values]
    if age is not None:
        lines.append((b"age", age))
    return lines if vary is None else [*lines, (b"vary", vary)]


def kept(*answers):
    return dict(caching(answers)).get(b"cache-control")


def test_the_strictest_part_decides_how_long_the_whole_is_kept():
    assert kept(control(b"max-age=60"), control(b"public, max-age=30")) == b"max-age=30"
    assert kept(control(b"max-age=60"), control(b"private", b"max-age=90")) == b"private, max-age=60"
    assert kept(control(b"max-age=60", age=b"45"), control(b"max-age=30")) == b"max-age=15"
    assert kept(control(b"max-age=60", age=b"70")) == b"max-age=0"
    assert kept(control(b"No-Cache, Max-Age=5"), control(b"must-revalidate, max-age=9")) == b"no-cache, must-revalidate, max-age=5"
    assert kept(control(b'private="x-a", max-age="7"')) == b"private, max-age=7"


def test_a_part_that_says_nothing_or_nonsense_makes_the_whole_unkept():
    for other in (control(), control(b"no-store, max-age=9"), control(b"public"), control(b"max-age=x"), control(b"max-age=-1"),
                  control(b"max-age=" + b"9" * 50), control(b"max-age=60", age=b"x"), control(b"max-age=9", vary=b"*")):
        assert kept(control(b"max-age=60"), other) == b"no-store"
    assert kept() == b"no-store"


def test_whatever_a_part_varies_by_the_whole_does():
    assert dict(caching([control(b"max-age=5", vary=b"Accept, X-A"), control(b"max-age=5", vary=b"x-a, B")]))[b"vary"] == b"accept, b, x-a"
