"""Broken files: whatever is in one, it is read, or it is a ConfigFileError with places in that file."""

from __future__ import annotations

import random

import pytest

from resilience import Registry, command
from resilience.config import ConfigFileError, check, configure
from tests.seeds import over_seeds

GOOD = """\
# Settings of the shop
[defaults]
timeout = 2.0
breaker = { failure_rate = 0.4, open_for = 7.0, ramp_shares = [0.1, 0.2] }

[groups."a b".breaker]
min_calls = 5
slow_call = 0.5
slow_rate = 0.75

[commands.stock]
max_concurrent = 3
breaker.open_jitter = 0.25

[guards]
"textwrap:fill" = { timeout = false, isolation = "thread", group = "text", ignore = ["KeyError"], pool = { size = 3 }, key = '''k''' }
"""
PIECES = ["[", "]", "{", "}", '"', "'", '"""', "=", ",", ".", "\n", "#", "nan", "inf", "-", "1e999", "0x", "true", "false", "\\", "é", "\x00",
          "[defaults]", "[[commands]]", "[guards]", "timeout", "breaker", "1979-05-27", "99999999999999999999", "\ud800".encode("utf-8", "replace").decode()]


def mutated(rng):
    text = GOOD
    for _ in range(rng.randrange(1, 4)):
        if rng.random() < 0.5:  # another number
            at = rng.choice([i for i, each in enumerate(text) if each.isdigit()])
            text = text[:at] + rng.choice("0123456789.") + text[at + 1:]
            continue
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 0, 1, 1, 5, 40]))
        text = text[:start] + rng.choice([*PIECES, text[end:end + 20], ""]) + text[end:]
    return text


@over_seeds(8)
def test_mutations_of_a_good_file_are_read_or_refused_with_places_in_it(seed, tmp_path):
    rng, file, tally = random.Random(seed), tmp_path / "f.toml", {True: 0, False: 0}
    for _ in range(250):
        text = mutated(rng)
        file.write_bytes(text.encode())
        try:
            check(file, environ={})
            tally[True] += 1
        except ConfigFileError as error:
            tally[False] += 1
            for mistake in error.mistakes:
                assert str(file) == mistake.file
                assert 1 <= mistake.line <= text.count("\n") + 1, (mistake, text)
                assert mistake.message
    assert min(tally.values()) > 10, tally


def test_bytes_of_chance_are_refused(tmp_path):
    rng, file = random.Random(3), tmp_path / "f.toml"
    for _ in range(100):
        file.write_bytes(b"[" + rng.randbytes(rng.randrange(200)))
        with pytest.raises(ConfigFileError):
            check(file, environ={})


def test_a_refused_mutation_changes_nothing_that_is_in_force(tmp_path):
    rng, file, registry = random.Random(5), tmp_path / "f.toml", Registry()
    file.write_text(GOOD)

    @command(key="stock", group="a b", registry=registry)
    async def stock(): ...

    configuration = configure(file, registry=registry, environ={})
    in_force = {handle.key: handle.settings for handle in registry}
    for _ in range(150):
        file.write_bytes(mutated(rng).encode())
        try:
            configuration.reload()
            in_force = {handle.key: handle.settings for handle in registry}
        except ConfigFileError:
            assert in_force == {handle.key: handle.settings for handle in registry}
    configuration.close()
    assert ["stock"] == [handle.key for handle in registry]
