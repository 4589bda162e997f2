"""What type checkers are told of the decorators' arguments is what there is at run time."""

import inspect
import typing

import attrs
import pytest

import resilience
from resilience.commands.live_changes import live_changes
from resilience.decorate import arguments
from resilience.decorate.policy_decorators import OPTIONS
from resilience.policies.order import KITS

DECORATORS = {kit: getattr(resilience, {"breaker": "circuit_breaker", "max_concurrent": "bulkhead"}.get(kit.name, kit.name))
              for kit in KITS}
POSITIONAL = {"calls", "function", "max_concurrent", "targets", "timeout"}


def typed(name):
    return set(typing.get_type_hints(getattr(arguments, name), vars(arguments)))


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
def test_the_typed_arguments_of_a_policys_decorator_are_the_fields_of_the_policy_and_the_options(kit):
    hints = typed({"timeout": "CommandOptions"}.get(
        kit.name, f"{kit.policy.__name__}Arguments"))
    fields = {field.name for field in attrs.fields(kit.policy)}
    first = next(iter(inspect.signature(DECORATORS[kit]).parameters.values()))
    positional = {attrs.fields(kit.policy)[0].name} if first.kind is first.POSITIONAL_ONLY and first.name != "fn" else set()

    assert hints == (fields - positional) | set(OPTIONS) - {"key"}


def test_the_typed_arguments_of_command_are_the_settings_and_the_options():
    assert typed("CommandArguments") | {"failover"} == {kit.name for kit in KITS} | {"policies"} | set(OPTIONS) - {"key"}


def test_the_typed_arguments_of_block_are_the_settings_that_a_block_can_have():
    of_blocks = {kit.name for kit in KITS if not kit.no_block}

    assert typed("BlockArguments") == of_blocks | {"policies", "group", "ignore", "shadow", "registry"}


def test_the_typed_policies_are_those_of_the_kits():
    assert set(typing.get_args(arguments.Policy)) == {kit.policy for kit in KITS} | {resilience.CustomPolicy}


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
def test_help_and_completion_show_every_argument_with_its_default(kit):
    shown = inspect.signature(DECORATORS[kit]).parameters
    for field in attrs.fields(kit.policy):
        if field.name in shown and shown[field.name].kind is inspect.Parameter.KEYWORD_ONLY:
            made = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default
            assert field.default is attrs.NOTHING or shown[field.name].default == made
    assert set(OPTIONS) <= set(shown)


def test_the_typed_settings_are_those_of_the_kits():
    named = {field.name for field in attrs.fields(resilience.Settings)}

    assert {kit.name for kit in KITS if kit.setting} <= named


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
def test_a_misspelt_argument_is_an_error_that_names_the_near_one(kit):
    decorate, name = DECORATORS[kit], attrs.fields(kit.policy)[-1].name
    args = [["eu", "us"]] if kit.name == "failover" else [print] if kit.name == "fallback" else [5] if kit.name in ("rate_limit", "max_concurrent", "timeout") else []
    for right in (("group",) if kit.name == "timeout" else (name, "group")):
        with pytest.raises(resilience.ConfigError, match=f"did you mean {right}"):
            decorate(*args, **{right[:-1] + "x": 1})


def test_what_takes_settings_by_name_shows_them_to_help_and_completion():
    live = set(inspect.signature(live_changes).parameters)
    of_blocks = {"key", "policies", "group", "ignore", "shadow", "registry"} | {kit.name for kit in KITS if not kit.no_block}

    assert of_blocks == set(inspect.signature(resilience.block).parameters)
    assert {"value", *OPTIONS} == set(inspect.signature(resilience.policy).parameters)
    assert {"policies", *OPTIONS} == set(inspect.signature(resilience.Pipeline).parameters)
    for handle in (resilience.Command, resilience.KeyedCommands):
        assert {"self", *live} == set(inspect.signature(handle.configure).parameters)


def test_the_typed_changes_of_a_live_command_are_the_settings_that_can_be_changed():
    shown = inspect.signature(live_changes).parameters

    assert {name for name in shown if name != "own"} == {kit.name for kit in KITS if kit.setting and kit.live} | {"shadow"}
