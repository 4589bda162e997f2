"""What a source's answers do to the set of instances, against a plain model."""

from __future__ import annotations

import random
from typing import Any

import pytest

from resilience.discovery import Instance, Listing
from resilience.discovery.instance import table_of
from resilience.discovery.membership import HOLD_S, SAY_AGAIN_S, ListVerdict, Membership, pause_s
from resilience.discovery.source import MAX_INSTANCES
from tests.seeds import over_seeds

URLS = [f"http://10.0.0.{number}:80" for number in range(1, 7)]


def one(number: int, weight: float = 1.0) -> Instance:
    return Instance(url=URLS[number], weight=weight)


class Model:
    """The rules once more, as plainly as they can be said."""

    def __init__(self) -> None:
        self.set: dict[str, Instance] = {}
        self.listed_at: float | None = None
        self.told: set[str] = set()
        self.hold_ends: float | None = None

    def hear(self, instances: list[Instance], mistakes: list[str], now: float, is_leased: bool = False,
             unavailable: frozenset[str] = frozenset()) -> tuple[str, set[str], set[str], set[str]]:
        """What the verdict is, and who is new, other and gone."""
        unique: dict[str, Instance] = {}
        unusable, mistakes = len(mistakes), list(mistakes)
        for each in instances:
            if each.name in unique and is_leased and unique[each.name] == each:
                continue
            if each.name in unique:
                mistakes.append(f"{each.name} is there twice; give it a weight instead")
            else:
                unique[each.name] = each
        self.news = {each for each in mistakes if each not in self.told}
        self.told = set(mistakes)
        nothing: tuple[set[str], set[str], set[str]] = set(), set(), set()
        if (unusable if is_leased else len(mistakes)) > len(unique):
            return "refused", *nothing
        if not unique:
            return "empty", *nothing
        if sum(each.weight for each in unique.values()) == 0:
            return "refused", *nothing
        missing = {name for name in self.set if name not in unique and name not in unavailable}
        if self.hold_ends is None and len(unique) < len(self.set) / 2:
            self.hold_ends = now + HOLD_S
        if not is_leased or not missing or self.hold_ends is None or now >= self.hold_ends:
            missing, self.hold_ends = set(), None
        self.held = missing
        unique.update({name: self.set[name] for name in missing})
        before, self.set, self.listed_at = self.set, unique, now
        new = unique.keys() - before.keys()
        other = {name for name in unique.keys() & before.keys() if unique[name] != before[name]}
        gone = before.keys() - unique.keys()
        return "changed" if new or other or gone else "same", new, other, gone


SEEN = set[str]()


@over_seeds(150)
def test_random_histories_of_answers_do_to_the_set_what_a_plain_model_says(seed: int) -> None:
    rng, members, model, now = random.Random(seed), Membership(), Model(), 100.0
    is_leased = rng.random() < 0.7
    for _ in range(60):
        now += rng.choice([0.1, 1.0, 10.0, 100.0])
        what = rng.random()
        if what < 0.15:
            members.failed(rng.choice(["no answer", "refused"]), now)
            SEEN.add("failed")
        elif what < 0.2 and not model.set:
            kept, age = [one(n) for n in rng.sample(range(6), rng.randrange(3))], rng.uniform(0, 50)
            members.restore(kept, age, now)
            if kept:
                model.set, model.listed_at = {each.name: each for each in kept}, now - age
        else:
            instances = [one(rng.randrange(6), rng.choice([0.0, 1.0, 1.0, 2.0])) for _ in range(rng.randrange(5))]
            mistakes = [f"entry {n}" for n in range(rng.choice([0, 0, 0, 1, 3]))]
            before, unavailable = members.instances, frozenset(one(n).name for n in rng.sample(range(6), rng.choice([0, 0, 1, 3])))
            update = members.judge(Listing(tuple(instances), tuple(mistakes), None, is_leased, unavailable), now)
            assert members.instances is before, "judging changes nothing"
            verdict, new, other, gone = model.hear(instances, mistakes, now, is_leased, unavailable)
            members.take(update, now)
            assert (verdict, new, other, gone) == (
                update.verdict.value, {*update.added}, {*update.changed}, {*update.gone})
            assert model.news == set(update.mistakes)
            assert bool(update.trouble) == bool(members.trouble) == (verdict in ("empty", "refused"))
            SEEN.add(verdict)
            if update.held:
                assert model.held == set(update.held) == set(members.held)
                SEEN.add("held")
        assert model.set == members.instances
        assert members.is_known == bool(model.set)
        assert members.age_s(now) == pytest.approx(None if model.listed_at is None else now - model.listed_at)
    assert seed < 149 or {*(each.value for each in ListVerdict), "held"} == SEEN


def test_a_list_that_is_too_long_is_refused_whole_and_not_read_to_its_end() -> None:
    read = 0

    def entries() -> Any:
        nonlocal read
        for number in range(100_000):
            read += 1
            yield f"http://10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80"

    members = Membership()
    members.take(members.judge(Listing.of([URLS[0]]), 0.0), 0.0)
    update = members.judge(Listing.of(entries()), 0.0)
    assert (ListVerdict.REFUSED, f"it lists more than {MAX_INSTANCES} instances") == (update.verdict, update.trouble)
    assert [URLS[0]] == [each.url for each in update.instances.values()]
    assert MAX_INSTANCES < read < MAX_INSTANCES + 10


@pytest.mark.parametrize(("entry", "why"), [
    ("http://x:99999", "http:// or https:// URL"), ("http://x:0", "URL"), ("ftp://x:1", "URL"), ("x:1", "URL"), (7, "a URL or a table"),
    ({"weight": 1.0}, "url is missing"), ({"url": URLS[0], "wieght": 1}, "no 'wieght'"), ({"url": URLS[0], "weight": -1}, "weight"),
    ({"url": URLS[0], "priority": 1.5}, "priority"), ({"url": URLS[0], "zone": 3}, "zone"), (f"http://{'x' * 2000}:1", "long"),
    ({"url": URLS[0], "server_name": "a b"}, "server's name"), ({"url": None}, "URL"), ({"url": URLS[0], "weight": float("nan")}, "weight"),
    ({"url": "http://user:pw@x:1"}, "nothing else"), ({"url": URLS[0], 3: 4}, "no 3")])
def test_an_entry_with_a_mistake_is_left_out_and_told_of_once(entry: Any, why: str) -> None:
    members = Membership()
    update = members.judge(Listing.of([URLS[1], entry, URLS[2]]), 0.0)
    assert [URLS[1], URLS[2]] == [each.url for each in update.instances.values()]
    assert 1 == len(update.mistakes)
    assert update.mistakes[0].startswith("entry 2: ")
    assert why in update.mistakes[0]
    members.take(update, 0.0)
    again = members.judge(Listing.of([URLS[1], entry, URLS[2]]), 0.0)
    assert (ListVerdict.SAME, ()) == (again.verdict, again.mistakes)


def test_what_a_registry_that_has_restarted_does_not_list_yet_stays_until_all_have_had_the_time_to_register() -> None:
    def said(*numbers: int, **more: Any) -> Listing:
        return Listing(tuple(map(one, numbers)), is_leased=True, **more)

    def names(*numbers: int) -> set[str]:
        return {one(number).name for number in numbers}

    members = Membership()
    members.take(members.judge(said(0, 1, 2, 3), 0.0), 0.0)
    for now, listing, held in (
            (10.0, said(5), names(0, 1, 2, 3)), (20.0, said(5, 1, 2), names(0, 3)),
            (30.0, said(5, 1, 2, unavailable=frozenset(names(3))), names(0)), (44.9, said(5, 1, 2), names(0)),
            (45.0, said(5, 1, 2), set())):
        members.take(members.judge(listing, now), now)
        assert held == set(members.held)
        assert {each.name for each in listing.instances} | held == members.instances.keys()
    members.take(members.judge(said(1, 2), 50.0), 50.0)
    assert names(1, 2) == members.instances.keys(), "a half and more is believed at once"


@pytest.mark.parametrize("listing", [
    Listing((one(0),)), Listing((one(0),), is_leased=True, unavailable=frozenset(one(n).name for n in range(1, 6)))])
def test_what_is_missing_on_purpose_goes_at_once(listing: Listing) -> None:
    members = Membership()
    members.take(members.judge(Listing.of(URLS), 0.0), 0.0)
    update = members.judge(listing, 1.0)
    assert ({one(0).name}, 5, ()) == (update.instances.keys(), len(update.gone), update.held)


def test_what_an_instance_says_is_what_it_is_read_from() -> None:
    for said in ({"url": URLS[0]}, {"url": "https://a.example/v1", "weight": 2.5, "zone": "b", "priority": 3, "server_name": "c:8443"}):
        assert said == table_of(Instance.of(said))
    assert ["10.0.0.1:80", "a.example:443/v1", "[::1]:9"] == [
        Instance(url=url).name for url in (URLS[0], "https://a.example/v1", "http://[::1]:9")]


def test_a_trouble_that_stays_is_told_of_again_when_the_age_of_the_set_has_doubled() -> None:
    members = Membership()
    members.take(members.judge(Listing.of(URLS), 0.0), 0.0)
    told = [second for second in range(1, 2000) if members.failed("away", float(second))]
    assert [1, 1 + SAY_AGAIN_S, 122, 244, 488, 976, 1952] == told
    assert members.failed("away in another way", 1953.0)
    assert members.take(members.judge(Listing.of(URLS), 0.0), 1954.0), "that it is over is told of"
    assert not members.take(members.judge(Listing.of(URLS), 0.0), 1955.0)


def test_a_source_is_asked_again_within_the_interval_sooner_by_chance_and_when_its_answer_holds_no_longer() -> None:
    assert [10.0, 9.0, 8.0] == [pytest.approx(pause_s(10.0, None, u)) for u in (0.0, 0.5, 1.0)]
    assert [10.0, 4.0, 1.0] == [pause_s(10.0, ttl, 0.0) for ttl in (300.0, 4.0, 0.0)]
    assert [0.25, 0.25] == [pause_s(0.5, ttl, 0.0) for ttl in (0.25, 0.0)]


