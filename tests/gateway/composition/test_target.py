"""Targets keep their shape, whatever the values are."""

import random
import re
from urllib.parse import unquote

import pytest

from resilience.errors import ConfigError
from resilience.gateway.composition.target import NoValueError, Target, UnfitValueError, first_values

HOSTILE = ["", ".", "..", "...", "a/b", "a\\b", "%2f", "%252e%252e", "?x=1", "#f", "&y=2", "=", "a b", "é", "\r\nX: 1", "\x00", ";v=1",
           "..;", "//", "http://evil/", "{id}", "+", "😀", "a" * 9000, "\x7f", "@evil", ":80", "*", "~", "'\"<>"]


def test_no_value_changes_the_shape_of_a_target():
    templates = ["/a/{id}", "/a/{id}/b", "/{id}", "/x-{id}.json", "/a?q={id}", "/a/{id}?q={id}&r=1", "/{p:/v}/c", "/a?{id}=1", "/.{id}/b"]
    rng = random.Random(7)
    values = HOSTILE + ["".join(rng.choice("./\\%;?#&=ab{}\r\n é") for _ in range(rng.randrange(6))) for _ in range(3000)]
    sent = 0
    for text in templates:
        target = Target.parse(text)
        for value in values:
            try:
                filled = target.filled({"id": value}, {}, {"p": {"v": value}}).decode("ascii")
            except UnfitValueError:
                continue
            sent += 1
            path, _, query = filled.partition("?")
            template_path, _, template_query = re.sub(r"\{[^}]*\}", "x", text).partition("?")
            assert path.count("/") == template_path.count("/")
            assert query.count("&") == template_query.count("&")
            assert query.count("=") == template_query.count("=")
            assert "#" not in filled
            assert " " not in filled
            assert not set(path.split("/")[1:]) & {"", ".", ".."}
            assert len(filled) <= 8192
            assert value in unquote(filled)
    assert sent > 5000


@pytest.mark.parametrize(("value", "sent"), [
    ("c 9", b"/a/c%209"), ("é", b"/a/%C3%A9"), (7, b"/a/7"), (True, b"/a/true"), (1.5, b"/a/1.5"), ("...", b"/a/..."), ("a:@b", b"/a/a%3A%40b"),
])
def test_texts_numbers_and_bools_are_percent_encoded_as_one_segment(value, sent):
    assert Target.parse("/a/{p:/x/0}").filled({}, {}, {"p": {"x": [value]}}) == sent


@pytest.mark.parametrize("answers", [{}, {"p": {}}, {"p": {"x": None}}, {"p": {"x": [1]}}, {"p": {"x": {}}}, {"p": 3}])
def test_a_value_that_is_not_there_or_is_no_text_is_missing(answers):
    with pytest.raises(NoValueError):
        Target.parse("/a/{p:/x}").filled({}, {}, answers)


def test_a_parameter_of_the_query_may_be_missing_and_one_of_the_path_may_not():
    assert Target.parse("/a?page={?page}").filled({}, {}, {}) == b"/a?page="
    assert Target.parse("/a?page={?page}").filled({}, first_values(b"page=2+3&page=4"), {}) == b"/a?page=2%203"
    with pytest.raises(NoValueError):
        Target.parse("/a/{id}").filled({}, {}, {})


def test_a_target_knows_the_parts_and_parameters_that_it_needs():
    target = Target.parse("/{a}/{p:/x}?q={?c}&r={r:}")
    assert (target.parts, target.parameters) == ({"p", "r"}, {"a"})


@pytest.mark.parametrize("text", ["", "a", "//a", "/a//b", "/a/../b", "/a/%2f", "/a b", "/a/{", "/a/}", "/a/{}", "/a/{x y}", "/a/{p:x}", "/a#b",
                                  "/a/{?}", "/a/{?x:/y}", "http://h/a", "/a?b c", "/a;b", "/{a{b}}"])
def test_a_malformed_target_is_a_mistake(text):
    with pytest.raises(ConfigError):
        Target.parse(text)
