"""What a configuration file may write in the place of an object, and what it stands for."""

import json
import sys
import types

import attrs
import pytest

from resilience import ConfigError
from resilience.core.references import (
    EXCEPTIONS,
    EXCEPTIONS_OR_CODES,
    FUNCTION,
    STATUSES,
    Written,
    as_function,
    found,
    function_or_none,
    in_file,
    lost,
)

SETTING = types.SimpleNamespace(name="on_result")


@pytest.mark.parametrize(("reference", "thing"), [
    ("json:JSONDecodeError", json.JSONDecodeError), ("json.decoder:JSONDecoder.decode", json.JSONDecoder.decode),
    ("ValueError", ValueError), ("types:SimpleNamespace", types.SimpleNamespace)])
def test_a_reference_stands_for_what_is_there(reference, thing):
    assert found(reference, "busy") is thing


@pytest.mark.parametrize("reference", ["json:Nothing", "there.is.none:Error", "NoSuchError", "json:JSONDecoder.no"])
def test_a_reference_to_nothing_is_a_mistake_that_says_where_it_stands(reference):
    with pytest.raises(ConfigError, match=rf"^busy '{reference}' cannot be found: ") as caught:
        found(reference, "busy")
    assert caught.value.option == "busy"
    assert isinstance(caught.value.__cause__, (AttributeError, ImportError))


@pytest.mark.parametrize(("reference", "near"), [
    ("KeyEror", "KeyError"), ("json:JSONDecodError", "JSONDecodeError"), ("json:JSONDecoder.decod", "decode"), ("json:xyzzy", None)])
def test_a_misspelt_reference_is_refused_with_the_nearest_name(reference, near):
    with pytest.raises(ConfigError) as caught:
        found(reference, "busy")
    assert str(caught.value).partition("; ")[2] == (f"did you mean {near}?" if near else "")


def test_what_does_not_say_its_names_is_refused_all_the_same(monkeypatch):
    module = types.ModuleType("silent")
    module.__dir__ = lambda: 1 / 0
    monkeypatch.setitem(sys.modules, "silent", module)
    with pytest.raises(ConfigError, match="has no attribute 'a'$"):
        found("silent:a", "busy")


def test_a_function_may_be_given_by_its_reference():
    assert as_function("json:dumps") is json.dumps
    assert as_function(json.dumps) is json.dumps
    assert as_function(None) is None


def test_a_reference_to_no_function_is_refused_with_the_reason():
    assert as_function("json:nothing") == "json:nothing"
    with pytest.raises(ConfigError, match=r"^on_result 'json:nothing' cannot be found: .* has no attribute 'nothing'"):
        function_or_none(None, SETTING, "json:nothing")


def test_a_value_that_is_no_function_is_refused():
    function_or_none(None, SETTING, None)
    function_or_none(None, SETTING, json.dumps)
    with pytest.raises(ConfigError, match="^on_result must be .*, not 5"):
        function_or_none(None, SETTING, 5)


@pytest.mark.parametrize(("written", "good", "bad"), [
    (FUNCTION, ["json:dumps", "a.b:C.d", "_é:x1"], ["dumps", "json:", ":dumps", "json:1x", "json.:dumps", "a:b:c", " a:b"]),
    (EXCEPTIONS, ["ValueError", "json:JSONDecodeError", "a.b:C.D"], ["", "503", "a:", ":b", "a b", "5xx"]),
    (EXCEPTIONS_OR_CODES, ["ValueError", "json:E", "5xx", "503", "500-504"], ["", "6xx", "0xx", "50", "5034", "500-", "500-604"]),
    (STATUSES, ["1xx", "599", "100-599"], ["ValueError", "json:E", "600", "099", "5xx-504", "5XX"]),
], ids=["function", "exceptions", "exceptions or codes", "statuses"])
def test_each_form_takes_its_own_strings_and_no_others(written, good, bad):
    for each in good:
        written(None, SETTING, each)
    for each in bad:
        with pytest.raises(ConfigError):
            written(None, SETTING, each)


def test_every_part_of_a_list_is_looked_at():
    EXCEPTIONS(None, SETTING, ())
    EXCEPTIONS(None, SETTING, ("ValueError", "json:E"))
    with pytest.raises(ConfigError, match=r"""^must be built-in exceptions or "module:Name", not 'not one'""") as caught:
        EXCEPTIONS(None, SETTING, ("ValueError", "not one"))
    assert caught.value.option == "on_result"


def test_numbers_are_status_codes_from_100_to_599():
    for written in (STATUSES, EXCEPTIONS_OR_CODES):
        written(None, SETTING, (100, 101, 503, 599))
        written(None, SETTING, None)
        for number in (99, 600, 0, -503):
            with pytest.raises(ConfigError, match=f", not {number}$"):
                written(None, SETTING, (number,))


def test_the_schema_says_what_is_accepted():
    codes = {"minimum": 100, "maximum": 599}
    assert FUNCTION.json_schema == {"pattern": FUNCTION.pattern}
    assert EXCEPTIONS.json_schema == {"items": {"pattern": EXCEPTIONS.pattern}}
    assert EXCEPTIONS_OR_CODES.json_schema == {"items": {"pattern": EXCEPTIONS_OR_CODES.pattern, **codes}}
    assert STATUSES.json_schema == {"items": {"pattern": STATUSES.pattern, **codes}}
    assert Written("^a$", "an a").json_schema == {"items": {"pattern": "^a$"}}


def test_a_field_knows_what_a_file_writes_for_it_and_whether_one_stands_for_a_list():
    @attrs.define
    class Settings:
        several: object = attrs.field(metadata=in_file(tuple[str, ...], EXCEPTIONS))
        one: object = attrs.field(metadata=in_file(str, FUNCTION))

    several, one = attrs.fields(Settings)
    assert several.metadata == {"in_file": tuple[str, ...], "in_file_check": EXCEPTIONS, "one_is_enough": True}
    assert one.metadata == {"in_file": str, "in_file_check": FUNCTION, "one_is_enough": False}


def test_an_error_that_names_nothing_is_told_as_it_is():
    class Odd(AttributeError):
        """With a name that is none."""

        name = 7

    class Near(Exception):
        """Not of an attribute, though it has a name and an object."""

        name, obj = "dump", json

    assert ("it is so", "it is so") == (lost(Odd("it is so")), lost(Near("it is so")))


@pytest.mark.parametrize(("value", "names_code"), [
    ("a:b", True), (["KeyError", "a:b"], True), (("a:b",), True), ("KeyError", False), (["KeyError"], False), (503, False), ([503], False), ([], False)])
def test_what_would_be_imported_to_be_found(value, names_code):
    assert names_code is Written.names_code(value)
