"""Documents: every mistake at once, each with its file, line and key."""

from __future__ import annotations

import pickle
from pathlib import Path

import attrs
import pytest

from resilience import ConfigError
from resilience.config import ConfigFileError, Document, Mistake
from resilience.core.checks import number


@attrs.frozen(kw_only=True)
class Inner:
    rate: float = attrs.field(default=0.5, validator=number(above=0, most=1))
    size: int | None = attrs.field(default=None, validator=number(least=1, whole=True, optional=True))


@attrs.frozen(kw_only=True)
class Outer:
    name: str
    names: tuple[str, ...] = ()
    on: bool = False
    inner: Inner = attrs.field(factory=Inner)


def read(text: str) -> tuple[Outer | None, list[Mistake]]:
    document = Document(text, "f.toml")
    found = document.structure(Outer, "outer")
    try:
        document.finish()
    except ConfigFileError as error:
        return found, error.mistakes
    return found, []


def test_a_good_table_becomes_an_object() -> None:
    found, mistakes = read('[outer]\nname = "n"\nnames = ["a", "b"]\non = true\ninner = { rate = 1, size = 3 }\n')
    assert (found, mistakes) == (Outer(name="n", names=("a", "b"), on=True, inner=Inner(rate=1.0, size=3)), [])


def test_false_turns_an_optional_setting_off() -> None:
    found, _ = read('[outer]\nname = "n"\ninner.size = false\n')
    assert found == Outer(name="n", inner=Inner(size=None))


def test_all_mistakes_of_a_table_are_found_in_one_go() -> None:
    found, mistakes = read('''\
[outer]
nmae = "n"
names = ["a", 2]
on = 1
[outer.inner]
rate = 2.0
size = 0
''')
    assert found is None
    assert mistakes == [
        Mistake("f.toml", 1, "outer.name", "is missing"),
        Mistake("f.toml", 2, "outer.nmae", "unknown setting; did you mean name?"),
        Mistake("f.toml", 3, "outer.names[1]", "must be a string, not a number"),
        Mistake("f.toml", 4, "outer.on", "must be true or false, not 1"),
        Mistake("f.toml", 6, "outer.inner.rate", "must be a number above 0 and at most 1, not 2.0; this is a share from 0 to 1: did you mean 0.02?"),
        Mistake("f.toml", 7, "outer.inner.size", "must be a whole number at least 1, or false, not 0"),
    ]


@pytest.mark.parametrize(("line", "message"), [
    ('name = 5', "must be a string, not a number"),
    ('name = "n"\nnames = "abc"', "must be a list, not 'abc'; write [\"abc\"]"),
    ('name = "n"\ninner = 3', "must be a table, not 3"),
    ('name = "n"\ninner.rate = "0.5"', "must be a number, not '0.5'"),
    ('name = "n"\ninner.rate = true', "must be a number, not true"),
    ('name = "n"\ninner.size = 1.0', "must be a whole number, or false, not 1.0"),
    ('name = "n"\ninner.rate = nan', "must be a number above 0 and at most 1, not nan"),
    ('name = "n"\nzzz = 1', "unknown setting; here are inner, name, names, on"),
])
def test_nothing_is_converted_on_the_quiet(line: str, message: str) -> None:
    assert [message] == [mistake.message for mistake in read(f"[outer]\n{line}\n")[1]]


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = = 2\n", 2), ("a = 1\na = 2\n", 2), ("a = [1,\n2\n", 3)])
def test_broken_toml_is_a_mistake_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigFileError) as caught:
        Document(text, "f.toml")
    (mistake,) = caught.value.mistakes
    assert (line, True) == (mistake.line, mistake.message.startswith("is not TOML: "))


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="cannot be read: No such file"):
        Document.read(tmp_path / "absent.toml")


def test_a_file_that_is_not_utf_8_is_a_mistake_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(ConfigFileError) as caught:
        Document.read(file)
    assert [(2, "is not UTF-8, as TOML must be")] == [(each.line, each.message) for each in caught.value.mistakes]


def test_the_error_is_a_config_error_that_pickles_and_reads_well() -> None:
    error = ConfigFileError([Mistake("f.toml", 3, "b", "is bad"), Mistake("f.toml", 1, "", "is worse")])
    assert isinstance(error, ConfigError)
    assert str(error) == "f.toml:1: is worse\nf.toml:3: b: is bad"
    assert error.mistakes == pickle.loads(pickle.dumps(error)).mistakes
