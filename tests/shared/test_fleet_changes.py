"""What operators say to a fleet, as it stands in the store: pure."""

import random

import attrs
import pytest

from resilience.errors import ConfigError
from resilience.gateway.supervision.patches import merged
from resilience.shared.fleet_changes import (
    MOST_BYTES,
    Entry,
    Signature,
    UnauthenticError,
    news,
    next_number,
    patched,
    read,
    written,
)

OURS = Signature(b"secret", "resilience:")
ENTRY = Entry(thing="services/up", number=3, since=2, when=1.5, by="ops from 127.0.0.1", patches=({"timeout": 1.0},))


def any_value(rng, depth=3):
    if depth and rng.random() < 0.6:
        return {rng.choice("abc"): any_value(rng, depth - 1) for _ in range(rng.randrange(3))}
    return rng.choice((None, 1, 2, "x", [1, {"a": 2}]))


def test_what_is_kept_of_a_thing_does_what_all_patches_did_one_after_the_other_in_any_history():
    for seed in range(400):
        rng = random.Random(seed)
        target, entry = {"services": {"up": any_value(rng)}}, None
        expected = target
        for number in range(1, 6):
            patch = any_value(rng)
            expected = merged(expected, {"services": {"up": patch}})
            entry = patched(entry, "services/up", patch, number=number, when=0.0, by="")
        found = target
        for patch in entry.patches:
            found = merged(found, {"services": {"up": patch}})
        assert found == expected, seed
        assert (entry.number, entry.since) == (5, 1)


def test_patches_that_no_single_one_says_are_kept_up_to_a_number():
    entry = None
    with pytest.raises(ConfigError, match="withdraw it, or put it into the file"):
        for number in range(1, 100):
            patch = None if number % 2 else {"a": {"b": number}}
            entry = patched(entry, "services/up", {"x": patch}, number=number, when=0.0, by="")
    assert len(entry.patches) == 16


def test_an_entry_is_read_as_it_was_written_and_nothing_else_is():
    said = written(ENTRY, OURS).encode()
    assert read("services/up", said, OURS) == ENTRY
    for thing, wrong, signature in (
            ("services/other", said, OURS), ("services/up", said, Signature(b"another", "resilience:")),
            ("services/up", said, Signature(b"secret", "elsewhere:")), ("services/up", said[:-1], OURS),
            ("services/up", said.replace(b"1.0", b"9.0"), OURS), ("services/up", b"", OURS),
            ("services/up", b" {}", OURS), ("services/up", b"\xff" * 9, OURS), ("services/up", b"x" * (MOST_BYTES + 1), OURS),
            ("services/up", OURS.signed("services/up", {"thing": "services/up"}).encode(), OURS),
            ("services/up", OURS.signed("services/up", [1]).encode(), OURS),
            ("services/up", written(attrs.evolve(ENTRY, number=-1), OURS).encode(), OURS)):
        with pytest.raises(UnauthenticError):
            read(thing, wrong, signature)


def test_an_entry_that_is_too_large_is_not_written():
    with pytest.raises(ConfigError, match="put it into the file"):
        written(attrs.evolve(ENTRY, patches=("x" * MOST_BYTES,)), OURS)


def test_old_entries_and_replays_are_no_news_and_what_the_store_has_lost_is_named():
    for seed in range(200):
        rng, known, store = random.Random(seed), {}, {}
        for number in range(1, 20):
            thing = f"services/{rng.choice('abc')}"
            entry = attrs.evolve(ENTRY, thing=thing, number=number, since=1)
            if rng.random() < 0.7:
                store[thing] = entry
            if rng.random() < 0.5:
                known[thing] = entry
        found = [(thing, written(entry, OURS).encode()) for thing, entry in store.items()] + [("routes", b"junk")]
        newer, lost, foreign = news(found, known, OURS)
        assert foreign == ["routes"]
        assert newer == sorted((entry for thing, entry in store.items()
                                if thing not in known or known[thing].number < entry.number), key=lambda e: e.number)
        assert set(lost) == {thing for thing, entry in known.items()
                             if thing not in store or store[thing].number < entry.number}
        assert next_number(known) == 1 + max((entry.number for entry in known.values()), default=0)


def test_of_two_entries_with_one_number_all_gateways_believe_the_same_one():
    one, other = ENTRY, attrs.evolve(ENTRY, patches=({"timeout": 2.0},))
    for known, told in ((one, other), (other, one)):
        newer, lost, _ = news([("services/up", written(told, OURS).encode())], {"services/up": known}, OURS)
        assert (newer, lost) == (([other], []) if known is one else ([], ["services/up"]))


def test_after_the_last_number_there_is_none():
    with pytest.raises(ConfigError, match="no more numbers"):
        next_number({"routes": attrs.evolve(ENTRY, number=(1 << 53) - 1)})
