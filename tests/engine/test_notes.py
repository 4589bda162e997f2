"""What a retry or a failover writes on its exception is known again, so that it does not pile up on one raised often."""

import copy
import pickle
import random
import traceback

import pytest

from resilience.engine.notes import Note, add_notes


def test_notes_of_one_command_stand_once_on_an_exception_that_is_raised_again_whatever_they_say():
    error = OSError()
    for turn in range(3):
        add_notes(error, "k", [f"bound {turn}"], f"attempts {turn}")

    assert ["k: bound 2", "k: attempts 2"] == error.__notes__


def test_a_note_of_somebody_else_stays_though_it_has_the_words_of_ours():
    error = OSError()
    error.add_note("k: attempts 1")
    for _ in range(3):
        add_notes(error, "k", [], "attempts 1")
    error.add_note("k: attempts 1")

    assert ["k: attempts 1"] * 3 == error.__notes__


@pytest.mark.parametrize("over", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_notes_reach_a_process_without_this_library_and_copies(over):
    error = OSError()
    add_notes(error, "k", ["bound"], "attempts")

    there = over(error)

    assert ["k: bound", "k: attempts"] == there.__notes__
    assert b"resilience" not in pickle.dumps(error)
    assert "k: bound\nk: attempts\n" in "".join(traceback.format_exception(there))


def test_random_histories_keep_what_others_wrote_and_the_last_of_eight_notes_of_other_commands():
    for seed in range(100):
        chance, error = random.Random(seed), OSError()
        model: list[tuple[str | None, str]] = []
        for turn in range(40):
            key = chance.choice([None, *"abcdefghijkl"])
            if key is None:
                error.add_note(f"user {turn}")
                model.append((None, f"user {turn}"))
                continue
            bounds = [f"bound {turn}"] * chance.randrange(2)
            add_notes(error, key, bounds, f"attempts {turn}")
            model = [each for each in model if each[0] != key]
            ours = [each for each in model if each[0] is not None]
            for each in ours[:max(0, len(ours) - 8)]:
                model.remove(each)
            model += [(key, f"{key}: {said}") for said in (*bounds, f"attempts {turn}")]
            assert [text for _, text in model] == error.__notes__, seed
            assert [key is not None for key, _ in model] == [type(each) is Note for each in error.__notes__]
