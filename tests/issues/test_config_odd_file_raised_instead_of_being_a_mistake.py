"""A number of 5000 digits, 3000 brackets or a key that is no string came out as ValueError, RecursionError, TypeError.

Nobody expects these of configure(): the thread that watches a file died of them, and no later change was seen.
"""

import pytest

from resilience import command
from resilience.config import ConfigFileError, ConfigurationRejected, configure

DEEP = {}
for _ in range(5000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(("text", "message"), [
    ("\n[commands.k]\ntimeout = " + "9" * 5000, ":3: has a number of too many digits"),
    ("a = " + "[" * 3000 + "]" * 3000, ":1: is nested too deep"),
    ("a = " + "{a = " * 400 + "1" + "}" * 400, ":1: is nested too deep"),
    ("commands = [{a" + ".a" * 3000 + " = 1}]", "must be a table ([commands]), not a list"),
    ("commands.k = 0x" + "f" * 50_000, "must be a table, not a int too large to be shown"),
    ("[commands.k]\ntimeout = '" + "x" * 10_000 + "'", "must be a number, or false, not 'xxx"),
])
def test_what_cannot_be_read_is_a_mistake_in_a_short_message(registry, tmp_path, text, message):
    file = tmp_path / "resilience.toml"
    file.write_text(text)
    with pytest.raises(ConfigFileError) as caught:
        configure(file, registry=registry, environ={})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("mapping", "message"), [
    ({1: {}}, "the mapping: a key must be a string, not 1"),
    ({"commands": {None: {}}}, "the mapping: commands: a key must be a string, not None"),
    ({"commands": {"k": {"breaker": {b"x": 1}}}}, "the mapping: commands.k.breaker: a key must be a string, not b'x'"),
    ({"commands": {"k": {"timeout": DEEP}}}, "the mapping: commands.k.timeout: must be a number, or false, not a table"),
])
def test_a_key_that_is_no_string_is_a_mistake(registry, mapping, message):
    with pytest.raises(ConfigFileError) as caught:
        configure(mapping, registry=registry, environ={})
    assert message == str(caught.value)


def test_a_name_that_no_file_can_have_is_a_mistake(registry):
    with pytest.raises(ConfigFileError, match="cannot be read: embedded null byte"):
        configure("\0", registry=registry, environ={})


def test_a_name_with_a_line_break_leaves_the_message_on_one_line(registry, tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_text('[commands."a\\n\\"b"]\ntimeout = -1\n', encoding="utf-8")
    with pytest.raises(ConfigFileError) as caught:
        configure(file, registry=registry, environ={})
    assert [str(caught.value)] == str(caught.value).splitlines()
    assert r'commands."a\n\"b".timeout' == caught.value.mistakes[0].key


def test_a_byte_order_mark_is_no_mistake(registry, tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_bytes(b"\xef\xbb\xbf[defaults]\r\ntimeout = 0.5\r\n")
    call = command(key="k", registry=registry, timeout=1.0)(len)
    configure(file, registry=registry, environ={})
    assert 0.5 == call.resilience.settings.timeout


def test_the_watch_goes_on_after_what_cannot_be_read(registry, tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_text("")
    rejected = []
    registry.subscribe(ConfigurationRejected, rejected.append)
    configuration = configure(file, registry=registry, environ={})
    file.write_text("x = " + "9" * 5000)
    configuration._applied.changed()
    assert 1 == len(rejected)


def test_the_watch_goes_on_whatever_happens(registry, tmp_path, monkeypatch, caplog):
    file = tmp_path / "resilience.toml"
    file.write_text("")
    configuration = configure(file, registry=registry, environ={})
    monkeypatch.setattr("resilience.config.applied_source._read", lambda *_: 1 / 0)
    configuration._applied.changed()
    assert [True] == ["could not be read" in record.message for record in caplog.records]
