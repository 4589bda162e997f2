"""Plans say what may be asked when, as a plain oracle does, and find every circle."""

import random

from resilience.gateway.composition.plan import OK, SKIPPED, Outcome, Progress, cycle_in


def some_needs(rng, *, cyclic):
    names = [f"p{i}" for i in range(rng.randrange(1, 9))]
    rng.shuffle(names)
    return {name: {other for other in (names if cyclic else names[:index]) if rng.random() < 0.3}
            for index, name in enumerate(names)}


def reaches(needs, start, goal, seen=()):
    return any(other == goal or (other not in seen and reaches(needs, other, goal, (*seen, other))) for other in needs[start])


def test_a_circle_is_found_exactly_when_somebody_needs_themselves_in_the_end():
    found = {True: 0, False: 0}
    for seed in range(800):
        needs = some_needs(random.Random(seed), cyclic=seed % 2 == 0)
        cycle = cycle_in(needs)
        is_cyclic = any(reaches(needs, name, name) for name in needs)
        assert (cycle is not None) == is_cyclic
        found[is_cyclic] += 1
        if cycle is not None:
            assert cycle[0] == cycle[-1]
            assert all(after in needs[before] for before, after in zip(cycle, cycle[1:]))
    assert min(found.values()) > 100


def test_names_that_are_not_there_need_nobody():
    assert cycle_in({"a": ["b"], "b": ["elsewhere"]}) is None


def test_a_part_is_asked_once_when_all_it_needs_are_ok_and_skipped_once_one_of_them_is_not():
    states = set()
    for seed in range(1500):
        rng = random.Random(seed)
        needs = some_needs(rng, cyclic=False)
        fate = {name: rng.choice([OK, OK, "failed", "timeout", "open"]) for name in needs}
        progress, running, asked = Progress(needs), [], []
        while True:
            ready = progress.ready()
            assert progress.ready() == []
            assert not set(ready) & set(asked)
            assert all(progress.outcomes[other].state == OK for name in ready for other in needs[name])
            # Nobody waits who could be asked: the oracle looks at all.
            for name in set(needs) - set(asked) - set(ready) - progress.outcomes.keys():
                assert any(other not in progress.outcomes for other in needs[name])
            asked += ready
            running += ready
            if not running:
                break
            name = running.pop(rng.randrange(len(running)))
            progress.settle(name, Outcome(fate[name], seed))

        def becomes(name):
            return fate[name] if all(becomes(other) == OK for other in needs[name]) else SKIPPED

        assert {name: outcome.state for name, outcome in progress.outcomes.items()} == {name: becomes(name) for name in needs}
        assert progress.answers() == {name: seed for name in needs if becomes(name) == OK}
        states |= {outcome.state for outcome in progress.outcomes.values()}
    assert states == {OK, "failed", "timeout", "open", SKIPPED}
