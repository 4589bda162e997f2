"""Hints: what somebody who wrote this most likely meant, for messages about a configuration.

A mistake says what is wrong, where, and what to do; the last is here, for the slips that
people make again and again: null, a key with dots that is not quoted, milliseconds,
percentages, words of Python or YAML. A duration that is allowed but looks like
milliseconds is no mistake, and gives a hint of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from ..core.setting_names import did_you_mean
from .secret_names import is_telling

#: Durations by name, and from which whole number on they look like milliseconds: Hystrix, resilience4j and gRPC's
#: settings are in milliseconds, and nobody waits for a call for minutes without knowing it.
_MILLISECONDS_FROM: Final[Mapping[str, int]] = {
    "timeout": 100, "slow_call": 100, "max_wait": 100, "max_queue_for": 100, "connect_timeout": 100,
    "client_timeout": 1000, "upload_timeout": 10_000, "idle_timeout": 1000, "open_for": 1000,
    "half_open_for": 1000, "window": 1000,
    "max_delay": 1000, "base": 100, "delay": 100}
_LONGEST: Final = 1_000_000_000
_WORD: Final = re.compile(r"[^\s,\]}#=]+")
_UNIT: Final = re.compile(r"=\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(%|ms|s|sec|m|min|h)(?![A-Za-z0-9_])")
_SECONDS: Final = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
_WORDS: Final = {
    **dict.fromkeys(("null", "none", "nil", "~", "undefined"),
                    "TOML has no null; write false to turn a setting off, or leave its key out"),
    **dict.fromkeys(("true", "yes", "on"), "write true, in small letters"),
    **dict.fromkeys(("false", "no", "off"), "write false, in small letters"),
    **dict.fromkeys(("inf", "infinity", "nan"), "write a number; false turns a setting off")}
#: A word of Python outside quotes, and an argument as Python writes it.
_PYTHON: Final = re.compile(r"(?<![\w'\".])(?<!not )(None)(?![\w'\"])|(?<![\w'\".])(True|False)(?![\w'\"])")
_ARGUMENT: Final = re.compile(r"\b([a-z_]+)=('[a-z_]+'|None|True|False)(?!\w)")
#: A value of a policy, as Python shows it, which stays as it is.
_VALUE: Final = re.compile(r"([A-Z]\w*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))")
_KEY_OF_TOMLLIB: Final = re.compile(r"\('[^()]*'(?:,|, '[^()]*')?\)")
#: By how tomllib's message begins.
_OF_TOMLLIB: Final = {
    "Cannot declare": "write all that belongs to a table below one header",
    "Cannot overwrite": "this name has a value already; keep one of the two",
    "Cannot mutate": "it has a value already, which is all of it",
    "Unescaped '\\'": "write the text in single quotes, or each \\ twice"}
_OPEN_BRACE: Final = re.compile(r"\{[^}\"']*$")
_TUPLE: Final = re.compile(r"\b(such as|did you mean) \(([^()]*)\)")
_IN_TOML: Final = {"None": "false", "True": "true", "False": "false"}


def in_toml(message: str, key: str) -> str:
    """A message of the code in the words of a file, whose null is false, and without the name that ends the *key*."""
    own = key.rpartition(".")[2]
    if message.startswith(f"{own} must "):
        message = message[len(own) + 1:]
    return "".join(part if _VALUE.fullmatch(part) else _words_of_toml(part) for part in _VALUE.split(message))


def _words_of_toml(message: str) -> str:
    message = _ARGUMENT.sub(lambda found: f"{found[1]} = {found[2].replace(chr(39), chr(34))}", message)
    message = message.replace(" or None", ", or false")
    message = _TUPLE.sub(r"\1 [\2]", message)
    return _PYTHON.sub(lambda found: _IN_TOML[found[0]], message)


def in_dots(message: str) -> str:
    """A *message* of tomllib with the keys in it as TOML writes them, with dots between their parts."""
    return _KEY_OF_TOMLLIB.sub(lambda found: "[" + ".".join(re.findall(r"'([^']*)'", found[0])) + "]", message)


def syntax_hint(line: str, column: int, why: str = "") -> str:
    """What to write instead of what is no TOML; empty if nothing is known.

    Args:
        line: Where it stands.
        column: Where it begins there, from 1.
        why: What tomllib says of it.
    """
    if "\0" in line:
        return "the line holds a NUL character"
    if column > len(line) and _OPEN_BRACE.search(line):
        return "a table in braces ends on the line that it begins on; write it as a [table] of its own, or on one line"
    known = next((hint for beginning, hint in _OF_TOMLLIB.items() if why.startswith(beginning)), None)
    if known is not None:
        return known
    unit = next((found for found in _UNIT.finditer(line) if found.start(1) < column <= found.end() + 1), None)
    if unit is not None:
        number = float(unit[1].replace("_", ""))
        meant = number / 100 if unit[2] == "%" else number * _SECONDS[unit[2]]
        return f"{'shares are numbers from 0 to 1' if unit[2] == '%' else 'durations are seconds'}: write {meant:.12g}"
    word = _WORD.match(line, column - 1)
    if word is None:
        return ""
    if word[0].startswith(":"):
        return 'quote a key that has other characters than letters, digits, _ and -, such as [guards."module:name"]'
    if word[0].lower() in _WORDS and "=" in line[:column] + "=" * (line.lstrip()[:1] != "["):
        return _WORDS[word[0].lower()]
    if re.fullmatch(r"[A-Za-z][\w.:/-]*", word[0]):
        return "a string stands in quotes" + ("" if is_telling(line[:column]) else f": write {json.dumps(word[0])}")
    if re.fullmatch(r"\.[0-9]+", word[0]):
        return f"write 0{word[0]}"
    return ""


def unknown(name: str, known: Collection[str], *, path: tuple[str | int, ...] = (), value: Any = None,
            what: str = "setting") -> str:
    """What to say of a key that nothing has.

    Args:
        name: The key.
        known: The keys that there are.
        path: Where it stands, without its name, from the top.
        value: What it has.
        what: What the keys are.
    """
    names = sorted(known)
    hint = did_you_mean(name, names)
    if hint:
        return f"unknown {what}; {hint}"
    if (path and path[0] in ("defaults", "commands", "groups", "guards") and isinstance(value, Mapping) and value
            and not any(key in known or isinstance(each, Mapping) for key, each in value.items())):
        return f'unknown {what}; if it is a policy of your own, name its module on top: imports = ["module"]'
    if len(path) == 2 and path[0] in ("commands", "groups", "services") and isinstance(value, Mapping):
        whole = ".".join((str(path[1]), *_key_of(name, value, names)))
        return f"unknown {what}; quote a key with dots: [{path[0]}.{json.dumps(whole, ensure_ascii=False)}]"
    return f"unknown {what}; here are {', '.join(names)}"


def _key_of(name: str, value: Mapping[str, Any], known: Collection[str]) -> Iterator[str]:
    """The steps of a key that was taken for tables, down to where settings stand."""
    yield name
    inner = [(key, each) for key, each in value.items() if isinstance(each, Mapping) and key not in known]
    if len(inner) == 1 and len(value) == 1:
        yield from _key_of(*inner[0], known)


def value_hint(name: str, value: Any, *, optional: bool, accepts: Callable[[Any], bool], is_share: bool) -> str:
    """What may have been meant by a *value* that the setting *name* cannot have; empty if nothing is known."""
    if value is None:
        return "write false to turn it off" if optional else "leave the key out to have the default"
    if isinstance(value, str):
        percent = re.fullmatch(r"([0-9.]+) ?%", value)
        if is_share and percent and accepts(_number(percent[1]) / 100):
            return f"this is a share from 0 to 1: did you mean {_number(percent[1]) / 100:.12g}?"
        if value.lower() in ("null", "none", "off", "no") and optional:
            return "write false, without quotes, to turn it off"
        unit = re.fullmatch(r"([0-9.]+) ?(ms|s|sec|m|min|h)", value)
        if unit and name in _MILLISECONDS_FROM and accepts(_number(unit[1]) * _SECONDS[unit[2]]):
            return f"this is in seconds: did you mean {_number(unit[1]) * _SECONDS[unit[2]]:.12g}?"
    elif _is_long(name, value) and accepts(value / 1000):
        return f"this is in seconds: did you mean {value / 1000:.12g}?"
    return ""


def _is_long(name: str, value: Any) -> bool:
    """Whether it is a duration that looks like milliseconds."""
    first = _MILLISECONDS_FROM.get(name)
    return first is not None and isinstance(value, (int, float)) and not isinstance(value, bool) and value >= first


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def suspicions(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each duration that is allowed and looks like milliseconds, as (path, message). A fraction never does: 500.0."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, (Mapping, list)):
                if len(path) < 5:
                    yield from suspicions(inner, (*path, name))
            elif _is_long(name, inner) and isinstance(inner, int) and inner <= _LONGEST:
                yield ((*path, name), f"durations are in seconds, so that this is {_spoken(inner)}; if you mean "
                                      f"milliseconds, write {inner / 1000:.12g}, and if not, {inner}.0")
    elif isinstance(value, list) and len(path) < 5:
        for index, inner in enumerate(value):
            yield from suspicions(inner, (*path, index))


def _spoken(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    shown = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(shown)
