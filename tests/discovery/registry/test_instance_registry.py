"""Leases, statuses, evictions and deltas: random histories against a plain registry, and what each rule means alone."""

import gzip
import random
from xml.etree import ElementTree

import attrs
import pytest

from resilience.discovery.registry.claims import source_of
from resilience.discovery.registry.documents import Documents
from resilience.discovery.registry.entry import Entry, Form, LeaseTimes
from resilience.discovery.registry.instance import STATUSES
from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.recent_changes import RecentChanges
from resilience.discovery.registry.refusal import RefusedError
from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import EPOCH_MS, PlainClient, PlainRegistry, instance, moment, read
from tests.seeds import over_seeds

SEEDS = 18
STEPS = 250


def new(**settings):
    return InstanceRegistry(RegistrySettings(**settings), moment(0.0))


def first(leases, count):
    """Stands for random.sample."""
    return leases[:count]


def accepted(registry, said, now, **more):
    try:
        registry.register(said, "10.0.0.9", moment(now), **more)
    except RefusedError:
        return False
    return True


def a_registration(random_, now):
    """An instance that somebody may register at *now*, with a timestamp that is sometimes out of order, or ahead."""
    age_ms = random_.choice((0, 0, 0, 5000, 60_000, -3000))
    return instance(
        random_.choice(("SHOP", "CART")), random_.choice("abcdef"), status=random_.choice((*STATUSES, "UP", "UP", "UP")),
        overridden_status=random_.choice(("UNKNOWN",) * 8 + ("OUT_OF_SERVICE",)),
        duration_s=random_.choice((30, 90)), dirty_ms=moment(now).unix_ms - age_ms)


def step(random_, registry, plain, now):
    """One random operation on both; asserts that both answer the same."""
    key = random_.choice(("SHOP", "CART")), random_.choice("abcdef")
    kind = random_.choices(("register", "renew", "cancel", "override", "remove", "metadata"), (4, 12, 1, 1, 1, 1))[0]
    at, status = moment(now), random_.choice(STATUSES)
    if kind == "register":
        said = a_registration(random_, now)
        assert plain.register(said, now) == accepted(registry, said, now)
    elif kind == "renew":
        assert plain.renew(key, now) == registry.renew(*key, at)
    elif kind == "cancel":
        assert plain.cancel(key, now) == registry.cancel(*key, at)
    elif kind == "override":
        assert plain.override(key, status, now) == registry.override(*key, status, 0, at)
    elif kind == "remove":
        assert plain.remove_override(key, status, now) == registry.remove_override(*key, status, 0, at)
    else:
        pairs = {random_.choice("xyz"): str(now)}
        assert plain.update_metadata(key, pairs, now) == registry.update_metadata(*key, pairs, at)


def tick(random_, registry, plain, now):
    """The registry's tick; asserts that it evicts as many as it should, and none that it should not."""
    due = now >= plain.next_eviction
    over, most = plain.candidates(now) if due else (set(), 0)
    gone = {(each.entry.instance.app, each.entry.instance.id) for each in registry.tick(moment(now), random_.sample)}
    assert gone <= over
    assert most == len(gone)
    plain.evict(gone)
    return len(gone)


def assert_same(registry, plain, now):
    assert registry.renewals_last_minute(moment(now)) == plain.rate(now)
    assert registry.allows_eviction(moment(now)) == plain.may_evict(now)
    snapshot = registry.snapshot()
    listed = {(each.instance.app, each.instance.id): each.instance
              for application in snapshot.applications.values() for each in application.entries}
    wanted = {key: attrs.evolve(each["said"], status=each["status"], duration_s=each["duration"],
                                overridden_status=each["override"] or "UNKNOWN")
              for key, each in plain.listed.items()}
    assert listed == wanted
    assert snapshot.hashcode == plain.hashcode
    assert len(registry) == len(listed)
    assert registry.snapshot() is snapshot


def test_any_history_leaves_the_instances_statuses_and_hash_that_a_plain_registry_has():
    evicted = 0
    for seed in range(SEEDS):
        random_ = random.Random(seed)
        preservation = random_.random() < 0.6
        registry = new(self_preservation=preservation, recount_interval=86_400)
        plain, now = PlainRegistry(preservation=preservation), 0.0
        for _ in range(STEPS):
            now += random_.choice((0.0, 0.1, 0.5, 1.0, 2.5))
            if random_.random() < 0.02:
                now += random_.choice((40.0, 100.0, 200.0))
            step(random_, registry, plain, now)
            if random_.random() < 0.3:
                evicted += tick(random_, registry, plain, now)
            assert_same(registry, plain, now)
    assert evicted > 20  # or nothing was tried


@over_seeds(SEEDS)
def test_applying_deltas_yields_the_full_registry_in_any_history(seed):
    random_ = random.Random(seed)
    registry, documents, client, now = new(self_preservation=False), Documents(), PlainClient(), 0.0
    plain = PlainRegistry(preservation=False)
    for _ in range(STEPS):
        now += random_.choice((0.0, 0.5, 3.0, 10.0))
        step(random_, registry, plain, now)
        tick(random_, registry, plain, now)
        if random_.random() < 0.3:
            client.follow(documents, registry.snapshot())
            assert read(documents.full(registry.snapshot(), Form.JSON).plain) == client.instances
    assert client.full_fetches == 1


def test_a_client_that_misses_changes_sees_it_by_the_hash():
    registry, documents, client = new(), Documents(), PlainClient()
    accepted(registry, instance(identity="a"), 0.0)
    client.follow(documents, registry.snapshot())
    accepted(registry, instance(identity="b"), 1.0)
    for second in range(2, 400):
        registry.tick(moment(second), first)
        registry.renew("SHOP", "a", moment(second))
        registry.renew("SHOP", "b", moment(second))

    client.follow(documents, registry.snapshot())

    assert client.full_fetches == 2
    assert set(client.instances) == {("SHOP", "a"), ("SHOP", "b")}


def test_every_form_of_a_list_says_the_same_and_unpacks_to_itself():
    registry, documents = new(), Documents()
    for number in range(300):  # several buckets
        accepted(registry, instance("BIG", f"i{number}", metadata={"zone": "é<&>"}), 0.0)
        accepted(registry, instance(f"SMALL{number % 7}", f"i{number}"), 0.0)
    for _ in range(3):
        snapshot = registry.snapshot()
        for form in Form:
            for document in (documents.full(snapshot, form), documents.delta(snapshot, form)):
                assert document.plain == gzip.decompress(document.compressed)
                assert document is documents.full(snapshot, form) or document is documents.delta(snapshot, form)
        by_json = read(documents.full(snapshot, Form.JSON).plain)
        by_xml = ElementTree.fromstring(documents.full(snapshot, Form.XML).plain)
        assert set(by_json) == {(each.findtext("app"), each.findtext("instanceId")) for each in by_xml.iter("instance")}
        assert snapshot.hashcode == by_xml.findtext("apps__hashcode")
        registry.cancel("BIG", f"i{len(by_json) % 300}", moment(1.0))
        accepted(registry, instance("BIG", f"new{len(by_json)}"), 1.0)


def test_a_snapshot_stays_what_it_was():
    registry, documents = new(), Documents()
    accepted(registry, instance(), 0.0)
    before = registry.snapshot()
    text = documents.full(before, Form.JSON).plain
    registry.cancel("SHOP", "a", moment(1.0))
    registry.snapshot()

    assert before.hashcode == "UP_1_"
    assert text == Documents().full(before, Form.JSON).plain


def test_the_version_of_the_delta_grows_with_each_change_and_when_changes_are_forgotten():
    registry = new()
    accepted(registry, instance(), 0.0)
    one = registry.snapshot().version
    registry.override("SHOP", "a", "DOWN", 0, moment(1.0))
    two = registry.snapshot().version
    for second in range(2, 215):
        registry.tick(moment(second), first)
    three = registry.snapshot()

    assert one < two < three.version
    assert not three.changed


# -- leases

@pytest.mark.parametrize(("defects", "renewed", "lasts"), [(False, False, 90), (False, True, 90), (True, False, 90), (True, True, 180)])
def test_a_lease_lasts_for_its_duration_unless_the_defect_of_the_original_is_asked_for(defects, renewed, lasts):
    registry = new(original_defects=defects, self_preservation=False)
    accepted(registry, instance(), 0.0)
    if renewed:
        registry.renew("SHOP", "a", moment(0.0))

    assert registry.lease("SHOP", "a").ends_s == lasts


def test_a_lease_that_is_registered_anew_counts_as_one_that_was_not_renewed():
    registry = new(original_defects=True)
    accepted(registry, instance(), 0.0)
    registry.renew("SHOP", "a", moment(1.0))
    accepted(registry, instance(dirty_ms=EPOCH_MS + 1), 2.0)

    assert registry.lease("SHOP", "a").ends_s == 92.0


def test_the_time_since_which_an_instance_is_up_is_that_of_its_first_being_so():
    registry = new()
    for second, status in enumerate(("STARTING", "UP", "DOWN", "UP")):
        accepted(registry, instance(status=status, dirty_ms=EPOCH_MS + second), float(second))

    assert registry.lease("SHOP", "a").entry.times.up_ms == EPOCH_MS + 1000


def test_the_lease_that_an_instance_asks_for_is_the_one_it_gets():
    registry = new()
    accepted(registry, instance(duration_s=7), 0.0)

    assert registry.lease("SHOP", "a").ends_s == 7.0


def test_an_eviction_that_comes_late_gives_the_leases_its_delay():
    registry = new(self_preservation=False)
    accepted(registry, instance(), 0.0)

    assert registry.tick(moment(160.0), first) == []  # 100 s late, and so 90 + 100 s are given
    assert len(registry.tick(moment(220.0), first)) == 1


def test_one_eviction_takes_at_most_fifteen_percent():
    registry = new(self_preservation=False)
    for number in range(100):
        accepted(registry, instance(identity=str(number)), 0.0)
    evicted = []
    for second in range(1, 400):
        evicted.append(len(registry.tick(moment(second), first)))

    assert [each for each in evicted if each][:3] == [15, 13, 11]


# -- statuses

def test_what_an_operator_has_set_stays_until_it_is_removed_whatever_the_instance_says():
    registry = new()
    accepted(registry, instance(), 0.0)
    registry.override("SHOP", "a", "OUT_OF_SERVICE", 0, moment(1.0))
    for second in range(2, 4000, 30):
        assert registry.renew("SHOP", "a", moment(second))
    accepted(registry, instance(dirty_ms=EPOCH_MS + 1), 4000.0)
    assert registry.lease("SHOP", "a").entry.instance.status == "OUT_OF_SERVICE"

    registry.remove_override("SHOP", "a", "UP", 0, moment(4001.0))

    assert registry.lease("SHOP", "a").entry.instance.status == "UP"


def test_an_override_that_is_removed_without_a_status_makes_the_instance_register_again():
    registry = new()
    accepted(registry, instance(), 0.0)
    registry.override("SHOP", "a", "OUT_OF_SERVICE", 0, moment(1.0))
    registry.remove_override("SHOP", "a", "UNKNOWN", 0, moment(2.0))

    assert not registry.renew("SHOP", "a", moment(3.0))
    accepted(registry, instance(dirty_ms=EPOCH_MS + 1), 3.0)
    assert registry.renew("SHOP", "a", moment(3.0))


def test_an_older_registration_renews_and_changes_nothing():
    registry = new()
    accepted(registry, instance(metadata={"v": "2"}, dirty_ms=EPOCH_MS + 10), 1.0)
    version = registry.snapshot().version
    accepted(registry, instance(metadata={"v": "1"}, dirty_ms=EPOCH_MS + 5), 2.0)

    assert registry.lease("SHOP", "a").entry.instance.metadata == {"v": "2"}
    assert registry.lease("SHOP", "a").renewed_s == 2.0
    assert registry.snapshot().version == version
    assert registry.counts["registered_outdated"] == 1


def test_a_registration_that_says_the_same_makes_no_change_for_clients():
    registry = new()
    accepted(registry, instance(), 0.0)
    version = registry.snapshot().version
    for second in range(1, 100):
        accepted(registry, instance(), float(second))

    assert registry.snapshot().version == version


def test_another_registry_has_decided_about_the_status_and_an_instance_itself_may_not_undo_it():
    registry = new()
    accepted(registry, instance(), 0.0)
    accepted(registry, instance(status="OUT_OF_SERVICE", dirty_ms=EPOCH_MS + 1), 1.0)
    assert registry.lease("SHOP", "a").entry.instance.status == "UP"
    accepted(registry, instance(status="OUT_OF_SERVICE", dirty_ms=EPOCH_MS + 2), 2.0, replication=True)
    assert registry.lease("SHOP", "a").entry.instance.status == "OUT_OF_SERVICE"


# -- leaving

def test_a_registration_from_before_an_instance_left_does_not_bring_it_back():
    registry = new()
    accepted(registry, instance(), 0.0)
    registry.cancel("SHOP", "a", moment(50.0))

    assert not accepted(registry, instance(status="DOWN", dirty_ms=EPOCH_MS + 49_900), 50.2)
    assert len(registry) == 0
    assert registry.tombstones == 1
    assert accepted(registry, instance(dirty_ms=EPOCH_MS + 51_000), 51.0)
    assert registry.tombstones == 0


def test_the_end_is_counted_by_the_clock_of_the_instance():
    registry, ahead = new(), 3 * 3600 * 1000
    for offset in (-ahead, ahead):
        accepted(registry, instance(dirty_ms=EPOCH_MS + offset), 0.0)
        registry.cancel("SHOP", "a", moment(50.0))
        assert not accepted(registry, instance(dirty_ms=EPOCH_MS + offset + 49_900), 50.2)
        assert accepted(registry, instance(dirty_ms=EPOCH_MS + offset + 50_100), 50.2)
        registry.cancel("SHOP", "a", moment(50.0))
        registry = new()


def test_an_instance_that_has_left_is_forgotten_after_the_time_of_its_lease():
    registry = new()
    accepted(registry, instance(), 0.0)
    registry.cancel("SHOP", "a", moment(1.0))
    for second in range(2, 125):
        registry.tick(moment(second), first)

    assert registry.tombstones == 0
    assert accepted(registry, instance(), 125.0)


def test_the_original_lets_a_late_registration_bring_an_instance_back_and_so_does_its_switch():
    registry = new(original_defects=True)
    accepted(registry, instance(), 0.0)
    registry.cancel("SHOP", "a", moment(50.0))

    assert accepted(registry, instance(), 50.2)


# -- bounds

@pytest.mark.parametrize(("limit", "others"), [
    ("max_instances", [("CART", "10.0.0.2")]), ("max_instances_per_application", [("SHOP", "10.0.0.2")]),
    ("max_instances_per_address", [("CART", "10.0.0.1")])])
def test_a_registry_that_is_full_refuses_who_is_new_and_keeps_who_is_there(limit, others):
    registry = new(**{limit: 2})
    registry.register(instance(identity="a"), "10.0.0.1", moment(0.0))
    registry.register(instance(identity="b"), "10.0.0.1", moment(0.0))
    for app, source in others:
        with pytest.raises(RefusedError) as caught:
            registry.register(instance(app, "c"), source, moment(0.0))
        assert caught.value.status == 429
    registry.register(instance(identity="a", status="DOWN", dirty_ms=EPOCH_MS + 1), "10.0.0.1", moment(1.0))
    registry.cancel("SHOP", "b", moment(2.0))
    registry.register(instance(identity="c"), "10.0.0.1", moment(3.0))

    assert len(registry) == 2


@over_seeds(20)
def test_the_addresses_that_register_are_counted_as_long_as_they_have_an_instance(seed):
    random_, registry = random.Random(seed), new(max_instances_per_address=3, self_preservation=False)
    owners, now = {}, 0.0
    for _ in range(200):
        now += 1.0
        identity, source = random_.choice("abcdefgh"), random_.choice("xyz")
        if random_.random() < 0.6:
            taken = sum(each == source for each in owners.values()) < 3 or identity in owners
            try:
                registry.register(instance(identity=identity, dirty_ms=moment(now).unix_ms), source, moment(now))
                assert taken
                owners[identity] = source
            except RefusedError:
                assert not taken
        elif registry.cancel("SHOP", identity, moment(now)):
            del owners[identity]


def test_strangers_that_renew_and_leave_are_counted_and_remembered_nowhere():
    registry = new()
    for number in range(1000):
        assert not registry.renew("SHOP", str(number), moment(1.0))
        assert not registry.cancel("SHOP", str(number), moment(1.0))

    assert registry.counts["renewed_stranger"] == registry.counts["cancelled_stranger"] == 1000
    assert registry.renewals_last_minute(moment(2.0)) == registry.tombstones == registry.recent_changes == 0


def test_a_flood_of_instances_that_come_and_leave_is_remembered_within_bounds():
    registry = new(max_instances=50)
    for number in range(1000):
        app = f"APP{number % 100}"
        accepted(registry, instance(app, str(number)), 0.0)
        registry.cancel(app, str(number), moment(0.0))
        registry.snapshot()

    assert registry.tombstones == registry.recent_changes == 50
    assert sum(len(each.entries) for each in registry.snapshot().changed.values()) == 50


def test_what_the_delta_tells_is_forgotten_in_the_order_in_which_it_changed():
    changes = RecentChanges(180.0, 10)
    for identity, second in (("a", 0.0), ("b", 1.0), ("a", 100.0), ("c", 101.0)):
        changes.add(Entry(instance(identity=identity), "ADDED", 0, LeaseTimes(0, 0, 0)), second)

    assert changes.purge(180.9) == set()
    assert changes.purge(181.0) == {"SHOP"}
    assert [each.instance.id for each in changes.by_application()["SHOP"]] == ["a", "c"]


def test_what_has_not_changed_is_not_made_anew():
    registry = new()
    for number in range(500):
        accepted(registry, instance(identity=str(number)), 0.0)
    before = registry.snapshot().applications["SHOP"].buckets
    registry.override("SHOP", "7", "DOWN", 0, moment(1.0))
    after = registry.snapshot().applications["SHOP"].buckets

    assert len(before) == len(after) >= 8
    assert sum(one is not other for one, other in zip(before, after, strict=True)) == 1


def test_addresses_of_one_registrant_are_an_address_of_ipv4_or_a_network_of_ipv6():
    assert source_of("10.0.0.1") == source_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("") == ""


def test_no_version_is_one_of_before_a_restart():
    before = new()
    for second in range(50):
        accepted(before, instance(dirty_ms=EPOCH_MS + second), float(second))
        before.override("SHOP", "a", ("DOWN", "UP")[second % 2], 0, moment(float(second)))
        before.snapshot()
    after = InstanceRegistry(RegistrySettings(), moment(51.0))

    assert after.snapshot().version > before.snapshot().version


def test_a_timestamp_of_tomorrow_is_refused_and_one_hours_ahead_does_not_lock_the_instance_out_once_its_clock_is_right():
    registry = new()
    assert not accepted(registry, instance(dirty_ms=EPOCH_MS + 86_500_000), 0.0)
    assert accepted(registry, instance(dirty_ms=EPOCH_MS + 7_200_000, metadata={"v": "1"}), 0.0)
    assert registry.counts["registered_ahead"] == 1
    assert accepted(registry, instance(dirty_ms=EPOCH_MS + 60_000, metadata={"v": "2"}), 60.0)

    assert registry.lease("SHOP", "a").entry.instance.metadata == {"v": "2"}


def test_metadata_does_not_grow_without_end():
    registry = new()
    accepted(registry, instance(), 0.0)
    for number in range(128):
        registry.update_metadata("SHOP", "a", {str(number): "x"}, moment(1.0))
    with pytest.raises(RefusedError):
        registry.update_metadata("SHOP", "a", {"one more": "x"}, moment(1.0))

    assert len(registry.lease("SHOP", "a").entry.instance.metadata) == 128
