"""JSON text is read strictly, and within bounds of depth, number and time."""

import json
import random
import time

import pytest

from resilience.gateway.messages.json_text import (
    MAX_DEPTH,
    MAX_VALUES,
    MalformedJsonError,
    TooManyValuesError,
    parse,
    serialize,
)


def some_value(rng, depth=4):
    kind = rng.randrange(8 if depth else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.randrange(-10**rng.randrange(1, 30), 10**20)
    if kind == 2:
        return rng.uniform(-1e6, 1e6)
    if kind < 6:
        return "".join(rng.choice('ab"\\[]{},:é€😀\n\t ') for _ in range(rng.randrange(8)))
    if kind == 6:
        return [some_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {f"{i}{rng.choice('x,:{')}": some_value(rng, depth - 1) for i in range(rng.randrange(4))}


def test_whatever_is_read_is_what_the_standard_library_reads_and_random_damage_is_malformed_or_read_alike():
    for seed in range(2000):
        rng = random.Random(seed)
        value = some_value(rng)
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()
        assert parse(text) == value
        assert json.loads(serialize(value)) == value
        damaged = bytearray(text)
        for _ in range(rng.randrange(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            found = parse(bytes(damaged))
        except MalformedJsonError:
            continue
        assert found == json.loads(bytes(damaged).decode())


@pytest.mark.parametrize(("text", "why"), [
    (b"", "Expecting value"), (b"{", "Expecting property name"), (b'{"a":1,"a":2}', "twice"),
    (b'[{"b":{"a":1,"a":1}}]', "twice"), (b"NaN", "NaN is not JSON"), (b"[-Infinity]", "-Infinity is not JSON"),
    (b"1e999", "beyond the range"), (b"-1e400", "beyond the range"), (b'"\xff"', "not UTF-8"),
    (b'"\xed\xa0\x80"', "not UTF-8"), (b"\xef\xbb\xbf1", "BOM"), ("1".encode("utf-16"), "not UTF-8"),
    (b'"\\ud800"', "surrogate"), (b'{"\\udc00":1}', "surrogate"), (b"9" * 5000, "too many digits"), (b"01", "Extra data"),
    (b"1 2", "Extra data"), (b"'a'", "Expecting value"), (b'"a\nb"', "control character"), (b"[1,]", "Expecting value|trailing comma"),
    (b"\x00", "Expecting value"), (b'"abc', "Unterminated"), (b"//x\n1", "Expecting value"),
], ids=repr)
def test_ambiguous_and_broken_text_is_malformed(text, why):
    with pytest.raises(MalformedJsonError, match=why):
        parse(text)


def test_a_whole_surrogate_pair_is_one_character():
    assert parse(b'"\\ud83d\\ude00"') == "😀"


def test_nesting_is_bounded_and_brackets_in_strings_do_not_count():
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deepest = opening * MAX_DEPTH + "1" + closing * MAX_DEPTH
        assert parse(deepest.replace('[1]', '[]').encode()) is not None
        with pytest.raises(MalformedJsonError, match="nested deeper"):
            parse(f"{opening}{deepest}{closing}".encode())
    assert parse(serialize("[" * 1000 + '"{\\')) == "[" * 1000 + '"{\\'
    assert len(parse(b"[" + b"[],{}," * 200 + b"1]")) == 401


def test_the_number_of_values_is_bounded_and_commas_in_strings_do_not_count():
    assert len(parse(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")) == MAX_VALUES - 1
    with pytest.raises(TooManyValuesError):
        parse(b"[" + b"1," * MAX_VALUES + b"1]")
    assert parse(serialize("," * MAX_VALUES * 2)) == "," * MAX_VALUES * 2
    with pytest.raises(TooManyValuesError):
        parse(b"[1,2,3]", max_values=3)


def test_no_text_of_a_mebibyte_costs_more_than_a_fraction_of_a_second():
    mebi = 1 << 20
    for text in (b'"' + b'\\"' * (mebi // 2), b'[{"' + b'\\"[,' * (mebi // 4), b"[" * mebi, b"[]" * (mebi // 2),
                 b'{"":' * (mebi // 4), b"[" + b"[]," * (mebi // 3) + b"1]", b'["' + b"\\u0041" * (mebi // 6) + b'"]',
                 b"[" + b"9" * 4300 + b"]", b"\\" * mebi, b'"' * mebi, b"[" + b"1," * (MAX_VALUES - 2) + b"1]",
                 b"[" + b"[[[[[[[[]]]]]]]]," * (MAX_VALUES // 20) + b"1]"):
        before = time.thread_time()
        try:
            parse(text)
        except (MalformedJsonError, TooManyValuesError):
            pass
        assert time.thread_time() - before < 0.5, text[:20]
