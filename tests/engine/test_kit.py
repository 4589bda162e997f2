"""A kit's row: what it says when little is said, and what a setting means to it."""

import attrs
import pytest

from resilience.engine.kit import GateText, Kit
from resilience.engine.worst_case import WorstCase
from resilience.engine.wrapper_spec import Flavour, WrapperSpec
from resilience.errors import ConfigError


@attrs.frozen
class Gate:
    """A policy."""

    size: int | None = 3
    wait: float = attrs.field(default=0.0, kw_only=True)


class Former(Gate):
    """The class whose place it has taken."""


WRITTEN_OUT, PLAIN, OWN = GateText(settle="inline"), GateText(settle="by the machine"), GateText(settle="its own")
KIT = Kit(name="gate", policy=Gate, about="It lets calls pass.", text=WRITTEN_OUT, plain=PLAIN)
SHORT = attrs.evolve(KIT, principal="size", formerly=(Former,))


def test_a_row_that_says_little_says_what_is_usual():
    assert (True, True, False, False, False, False, False) == (
        KIT.setting, KIT.live, KIT.can_be_off, KIT.can_be_shadow, KIT.always, KIT.needs_threads, KIT.calls_back)
    assert [("", False)] == list({(text.acquire, text.takes_slot) for text in (WRITTEN_OUT, PLAIN)})
    assert {False} == {text.sees_call for text in (WRITTEN_OUT, PLAIN)}
    spec = WrapperSpec(Flavour.SYNC, (), "sync")
    assert (False, False, False, False) == (spec.deadline, spec.fallback, spec.retry, spec.retry_results)
    assert (False, False, False) == (spec.marks, spec.holds, spec.returns_failures)
    assert ("", "", "") == (spec.clocks, spec.judges, spec.failover)
    assert KIT.detail(Gate()) == ""


def test_a_policy_that_says_nothing_of_it_applies_everywhere_and_makes_no_call_longer():
    policy, below = Gate(), WorstCase(1.0)

    assert KIT.in_force(policy, Flavour.ASYNC) is policy
    assert KIT.worst_case(policy, below) is below


def test_the_setting_that_stands_for_a_policy_is_one_plain_value_if_the_others_are_as_usual():
    policy, other = Gate(5), Gate(5, wait=1.0)

    assert (policy, other, None) == (KIT.said(policy), KIT.said(other), KIT.said(None))
    assert (5, other, None) == (SHORT.said(policy), SHORT.said(other), SHORT.said(None))
    assert SHORT.said(Gate(None)) is None


@pytest.mark.parametrize(("kit", "setting", "policy"), [
    (KIT, Gate(5), Gate(5)), (KIT, None, None), (SHORT, Gate(5), Gate(5)), (SHORT, 5, Gate(5)), (SHORT, None, Gate(None)),
    (SHORT, Former(5), Former(5))])
def test_a_setting_means_a_policy(kit, setting, policy):
    assert policy == kit.meant(setting)


def test_a_kit_may_read_what_a_user_writes():
    reading = attrs.evolve(KIT, reads=lambda setting: Gate(len(setting)))
    assert [Gate(3), None, Gate(7)] == [reading.meant(setting) for setting in ("abc", None, Gate(7))]


@pytest.mark.parametrize(("kit", "setting"), [(KIT, 5), (KIT, Gate), (KIT, False), (SHORT, Gate)])
def test_what_means_no_policy_is_refused_with_the_name_of_the_setting(kit, setting):
    with pytest.raises(ConfigError, match="gate must be a Gate or None") as caught:
        kit.meant(setting)
    assert "gate" == caught.value.option


@pytest.mark.parametrize(("kit", "known", "setting", "meant"), [
    (SHORT, Gate(3, wait=1.0), 5, Gate(5, wait=1.0)), (SHORT, Gate(3, wait=1.0), None, None), (SHORT, None, 5, 5),
    (SHORT, Gate(3, wait=1.0), Gate(5), Gate(5)), (KIT, Gate(3, wait=1.0), 5, 5), (SHORT, 7, 5, 5)])
def test_a_plain_value_changes_its_own_field_of_what_is_in_force_and_no_other(kit, known, setting, meant):
    assert meant == kit.over(known, setting)


def test_a_kits_text_is_its_own_for_the_policy_or_one_of_two_ways():
    own = attrs.evolve(KIT, text_for=lambda policy, flavour: OWN if policy.size == 1 else None)

    assert (WRITTEN_OUT, PLAIN) == (KIT.text_of(True, Gate(), Flavour.SYNC), KIT.text_of(False, Gate(), Flavour.SYNC))
    assert [OWN, OWN] == [own.text_of(way, Gate(1), Flavour.SYNC) for way in (True, False)]
    assert [WRITTEN_OUT, PLAIN] == [own.text_of(way, Gate(), Flavour.SYNC) for way in (True, False)]


def test_which_flavours_await_and_which_yield():
    assert {Flavour.ASYNC, Flavour.ASYNC_GENERATOR, Flavour.ASYNC_BLOCK} == {each for each in Flavour if each.is_async}
    assert {Flavour.GENERATOR, Flavour.ASYNC_GENERATOR} == {each for each in Flavour if each.is_generator}
    assert {Flavour.BLOCK, Flavour.ASYNC_BLOCK} == {each for each in Flavour if each.is_block}
    assert {True, False} == {each.is_async for each in Flavour} == {each.is_generator for each in Flavour}
