"""Lines of keys, checked against texts whose keys say on which line they stand."""

from __future__ import annotations

import random
import tomllib

import pytest

from resilience.config.locator import line_at, lines_of

TEXT = '''\
# a comment = "not a key"
[gateway]
bind = "127.0.0.1:8080" # not [a.table]

[services.inventory]
endpoints = [
    "http://a:1", # ] not the end
    "http://b:2",

    "http://c:3"
]
"quoted key" = 1
note = """
[not.a.table]
key = "nor a key"
"""
raw = \'\'\'
x = 1\'\'\'

[services.inventory.command]
timeout = 0.5
breaker = { failure_rate = 0.5, "min_calls" = 20 }
dotted.inner = true

[[routes]]
path = "/a"
[[routes]]
path = "/b"
  [routes.extra]
  deep = "\\u0041"
'''


@pytest.mark.parametrize(("path", "line"), [
    (("gateway",), 2),
    (("gateway", "bind"), 3),
    (("services",), 5),
    (("services", "inventory"), 5),
    (("services", "inventory", "endpoints"), 6),
    (("services", "inventory", "endpoints", 0), 7),
    (("services", "inventory", "endpoints", 2), 10),
    (("services", "inventory", "quoted key"), 12),
    (("services", "inventory", "note"), 13),
    (("services", "inventory", "raw"), 17),
    (("services", "inventory", "command", "timeout"), 21),
    (("services", "inventory", "command", "breaker", "failure_rate"), 22),
    (("services", "inventory", "command", "breaker", "min_calls"), 22),
    (("services", "inventory", "command", "dotted", "inner"), 23),
    (("routes", 0), 25),
    (("routes", 0, "path"), 26),
    (("routes", 1), 27),
    (("routes", 1, "path"), 28),
    (("routes", 1, "extra", "deep"), 30),
])
def test_every_key_and_element_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TEXT)
    assert line == lines_of(TEXT)[path]


def test_what_is_missing_has_the_line_of_what_encloses_it() -> None:
    lines = lines_of(TEXT)
    assert line_at(lines, ("services", "inventory", "command", "absent", "deeper")) == 20
    assert line_at(lines, ("absent",)) == 1


def test_random_documents_agree_with_the_line_written_into_each_value() -> None:
    rng = random.Random(7)
    for _ in range(200):
        text = _random_document(rng)
        data, lines = tomllib.loads(text), lines_of(text)
        found = {}
        _walk(data, (), found)
        for path, line in found.items():
            assert line == lines[path], f"{path} in\n{text}"


def _random_document(rng: random.Random) -> str:
    out: list[str] = []

    def value(key: str, depth: int = 0) -> None:
        kind = rng.randrange(6)
        line = sum(part.count("\n") for part in out) + 1
        if kind == 0:
            out.append(f'{key} = """\nx = [{{\n"""\n')
        elif kind == 1 and depth < 2:
            out.append(f"{key} = [\n")
            for i in range(rng.randrange(3)):
                here = sum(part.count("\n") for part in out) + 1
                out.append(f"  {here}, # {i} ] }}\n")
            out.append("]\n")
        elif kind == 2:
            out.append(f"{key} = {{ a = {line}, b = 'x#]' }}\n")
        elif kind == 3:
            out.append(f"# {key} = 1\n\n")
            value(key, depth)
        else:
            out.append(f"{key} = {line}\n")

    for table in range(rng.randrange(1, 4)):
        out.append(rng.choice([f"[t{table}]\n", f"[[a{table}]]\n", f"[u.v{table}]\n", f"[[a{table}]]\nx = 'y'\n[[a{table}]]\n"]))
        for key in range(rng.randrange(4)):
            value(rng.choice([f"k{key}", f'"k {key}"', f"'k.{key}'", f"d{key}.e"]))
    return "".join(out)


def _walk(value: object, path: tuple[str | int, ...], found: dict[tuple[str | int, ...], int]) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            _walk(each, (*path, key), found)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _walk(each, (*path, index), found)
    elif isinstance(value, int):
        found[path] = value
