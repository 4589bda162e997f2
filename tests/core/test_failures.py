"""What is kept of a failure: words and numbers, whatever the exception is, and never the exception."""

import errno
import gc
import sys
import threading
import weakref

import pytest

from resilience.core.failures import Failures
from resilience.errors import CallTimeoutError


def noted(error):
    failures = Failures()
    failures.note(error, 1.0)
    return failures.last[:2]


class Custom(Exception):
    def __str__(self):
        return "its own words"


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("not to be printed")


class Endless(Exception):
    def __str__(self):
        return str(self)


class Odd(str):
    __slots__ = ()

    def __getitem__(self, key):
        raise RuntimeError("not to be cut")


class Strange(Exception):
    def __str__(self):
        return Odd("strange " * 100)


class NoText(Exception):
    def __str__(self):
        return 7  # noqa: PLE0307 - what is to be survived


class NoArgs(Exception):
    @property
    def args(self):
        raise RuntimeError("no arguments")


class Unnamed(type):
    @property
    def __module__(cls):
        raise RuntimeError("no module")


class Nameless(Exception, metaclass=Unnamed):
    pass


@pytest.mark.parametrize(("error", "kind", "message"), [
    (ConnectionError("no route to 10.1.2.3"), "ConnectionError", "no route to 10.1.2.3"),
    (OSError(errno.ECONNREFUSED, "refused"), "ConnectionRefusedError", f"[Errno {errno.ECONNREFUSED}] refused"),
    (KeyError("sku-7"), "KeyError", "sku-7"),
    (ValueError(), "ValueError", ""),
    (ValueError(7), "ValueError", "7"),
    (ValueError("two", 7), "ValueError", "('two', 7)"),
    (ValueError(ConnectionError("inside")), "ValueError", "inside"),
    (Custom(), f"{__name__}.Custom", "its own words"),
    (CallTimeoutError("k", 0.5), "resilience.errors.CallTimeoutError", "k: no answer within 0.5 s"),
    (ValueError(b"bytes"), "ValueError", "b'bytes'"),
    (ValueError({"a": 1}), "ValueError", "{'a': 1}"),
    (ExceptionGroup("2 hosts", [ExceptionGroup("one", [OSError("refused")]), ValueError("x")]), "ExceptionGroup",
     "2 hosts: OSError('refused')"),
    (ValueError({"k": "x" * 100}), "ValueError", "{'k': '" + "x" * 100 + "'}"),
    (ValueError([range(10**9, 10**9 + 10**6, 7)]), "ValueError", "[range(1000000000, 1001000000, 7)]"),
    (ExceptionGroup("g", [KeyError("sku-7")]), "ExceptionGroup", "g: KeyError('sku-7')"),
    (ExceptionGroup("g", [Custom("x")]), "ExceptionGroup", f"g: {__name__}.Custom('its own words')"),
    (ValueError("x" * 200), "ValueError", "x" * 200),
    (ValueError("x" * 201), "ValueError", "x" * 197 + "..."),
    (ValueError("https://" + "u" * 700 + "@host " + "y" * 999), "ValueError", "https://***@host " + "y" * 86),
    (Hostile(), f"{__name__}.Hostile", "an exception that cannot be printed"),
    (Endless(), f"{__name__}.Endless", "an exception that cannot be printed"),
    (NoText(), f"{__name__}.NoText", "an exception that cannot be printed"),
    (NoArgs("x"), f"{__name__}.NoArgs", "an exception that cannot be printed"),
    (Strange(), f"{__name__}.Strange", ("strange " * 100)[:197] + "..."),
    (Nameless("x"), "an exception without a name", "x"),
    (ExceptionGroup("all", [Hostile()]), "ExceptionGroup",
     f"all: {__name__}.Hostile('an exception that cannot be printed')"),
], ids=lambda value: value if isinstance(value, str) else type.__repr__(type(value)))
def test_a_failure_is_told_in_words(error, kind, message):
    assert (kind, message) == noted(error)
    assert type(noted(error)[1]) is str


@pytest.mark.parametrize("payload", ["x" * 10_000, b"x" * 10_000, ["x" * 10_000] * 100, {"k": ["x" * 10_000]}])
def test_a_long_message_is_cut(payload):
    _, message = noted(ValueError(payload))

    assert 30 < len(message) <= 200


def test_a_large_payload_is_not_printed_in_full_only_to_be_cut():

    class Item:
        printed = 0

        def __repr__(self):
            Item.printed += 1
            return "item"

    noted(ValueError([Item() for _ in range(1000)]))

    assert Item.printed < 20


@pytest.mark.parametrize(("said", "shown"), [
    ("cannot reach postgresql://app:s3cret@db:5432/shop", "cannot reach postgresql://***@db:5432/shop"),
    ("redis://:p@ss@cache/0 refused, amqp://u:p@mq too", "redis://***@cache/0 refused, amqp://***@mq too"),
    ("https://example.org/a@b says no", "https://example.org/a@b says no"),
    ("user@example.org is unknown", "user@example.org is unknown"),
])
def test_passwords_in_urls_are_masked(said, shown):
    assert ("ConnectionError", shown) == noted(ConnectionError(said))


def test_a_password_is_masked_before_the_message_is_cut():
    _, message = noted(ConnectionError("x" * 150 + " https://" + "u" * 30 + ":" + "s3cret" * 20 + "@host"))

    assert "s3cret" not in message


def test_like_ones_are_counted_until_another_comes_or_ten_minutes_go_by():
    failures, counts = Failures(), []
    for error, at in [(OSError("a"), 0.0), (OSError("b"), 1.0), (OSError("c"), 600.0), (ValueError("d"), 601.0),
                      (OSError("e"), 602.0), (OSError("f"), 1202.0), (OSError("g"), 1802.5), (OSError("h"), 1802.5)]:
        failures.note(error, at)
        counts.append(failures.last[3])
    assert [1, 2, 3, 1, 1, 2, 1, 2] == counts
    assert ("OSError", "h", 1802.5, 2) == failures.last

    failures.clear()
    assert failures.last is None
    failures.note(OSError(), 1803.0)
    assert 1 == failures.last[3]


def test_refusals_and_deadlines_are_no_failures_unless_the_circuit_takes_them_for_some():
    assert (False, float("inf"), None) == (Failures().with_refusals, Failures().with_deadlines_s, Failures().last)


def test_many_threads_count_each_failure_once():
    failures, error = Failures(), OSError("down")
    failures.note(error, 0.0)
    seen, interval = [], sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        def work():
            for _ in range(500):
                failures.note(error, 1.0)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    failures.note(error, 2.0)
    seen.append(failures.last[3])

    assert [2002] == seen


def test_no_exception_traceback_or_frame_is_kept():
    class Marker:
        pass

    def fail():
        marker = Marker()
        watched.append(weakref.ref(marker))
        raise ValueError(marker)

    watched, failures = [], Failures()
    try:
        fail()
    except ValueError as error:
        failures.note(error, 1.0)
    assert failures.last is not None

    assert [None] == [each() for each in watched]


def test_nor_is_a_class_that_was_made_for_one_call():
    def kind():
        class Local(Exception):
            pass

        watched.append(weakref.ref(Local))
        return Local

    watched, failures = [], Failures()
    failures.note(kind()("down"), 1.0)
    gc.collect()

    assert [None] == [each() for each in watched]
    assert "down" == failures.last[1]


def test_a_call_that_is_interrupted_while_it_prints_is_interrupted():
    class Interrupted(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Failures().note(Interrupted(), 1.0)
