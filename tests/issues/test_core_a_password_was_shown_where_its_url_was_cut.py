"""A message was cut before the passwords in its URLs were masked: of a URL that was cut within its password nothing says
any more that it is one. So the beginning of the password stood in the log, in CircuitOpenError and in
/resilience.stream. It depended on where the URL stood, and on what kind of object the message was.
"""

import pytest

from dashboard.source import StreamSource
from resilience import ConfigError, command
from resilience.core.failures import Failures
from resilience.core.url_credentials import masked, masked_beginning
from resilience.discovery import Instance
from tests.issues.hostile import ended

SECRET = "hunter" * 20
URL = f"postgresql://admin:{SECRET}@db:5432/shop"


class Reported(Exception):
    def __str__(self):
        return self.args[0]


class Shown:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return f"<connection to {self.text}>"


class Text(str):
    __slots__ = ()


#: Exceptions that say a text, each its own way.
SAID = {
    "text": ConnectionError,
    "text of a class of its own": lambda text: ConnectionError(Text(text)),
    "key": KeyError,
    "two arguments": lambda text: ConnectionError(111, text),
    "bytes": lambda text: ConnectionError(text.encode()),
    "bytearray": lambda text: ConnectionError(bytearray(text.encode())),
    "dict": lambda text: ConnectionError({"dsn": text, "tries": 3}),
    "key of a dict": lambda text: ConnectionError({text: 3}),
    "list": lambda text: ConnectionError([text]),
    "list of bytes": lambda text: ConnectionError([text.encode()]),
    "set of tuples": lambda text: ConnectionError({(1, text)}),
    "list of objects": lambda text: ConnectionError([Shown(text)]),
    "an object": lambda text: ConnectionError(Shown(text)),
    "a class with words of its own": Reported,
    "group": lambda text: ExceptionGroup(text, [OSError("refused")]),
    "leaf of a group": lambda text: ExceptionGroup("hosts", [ExceptionGroup("one", [OSError(text)])]),
}


def message_of(error):
    failures = Failures()
    failures.note(error, 0.0)
    return failures.last[1]


@pytest.mark.parametrize("say", SAID.values(), ids=SAID)
def test_no_part_of_a_password_is_shown_wherever_its_url_stands(say):
    for before in [*range(0, 210, 7), *range(640, 820, 7)]:
        for after in ("", " is gone" * 50):
            message = message_of(say("x" * before + " " + URL + after))

            assert "hunt" not in message, (before, after)
            assert len(message) <= 200


def test_urls_that_are_masked_bring_no_later_one_into_sight():
    said = ("https://" + "u" * 250 + "@a ") * 3 + URL

    assert "https://***@a https://***@a https://***@a postgresql://***" == message_of(ConnectionError(said))


def test_a_password_with_an_at_sign_is_masked_to_the_last_one():
    for most in range(len("redis://:p@s"), len("redis://:p@s@s3cret@cache/0")):
        assert masked_beginning("redis://:p@s@s3cret@cache/0", most).startswith("redis://***")
        assert "s3" not in masked_beginning("redis://:p@s@s3cret@cache/0", most)


@pytest.mark.parametrize("say", [SAID["text"], SAID["bytes"], SAID["group"], SAID["list"]])
def test_the_host_is_shown(say):
    assert "postgresql://***@db:5432/shop" in message_of(say(f"no answer from {URL}"))


def test_an_open_circuit_shows_none_either(registry):
    @command(key="k", registry=registry, timeout=None)
    def connect():
        raise ExceptionGroup("x" * 170 + " " + URL, [OSError("refused")])

    for _ in range(30):
        error = ended(connect)

    assert "CircuitOpenError" == type(error).__name__
    assert "hunt" not in f"{error}{error!r}{connect.resilience.snapshot()!r}"


@pytest.mark.parametrize("before", ["", "x" * 50, "x" * 90])
def test_a_mistake_in_an_address_shows_none(before):
    with pytest.raises(ConfigError) as caught:
        Instance(url=f"http://{before}:{SECRET}@host/")

    assert "hunt" not in str(caught.value)


def test_the_dashboard_masks_a_password_with_an_at_sign():
    with pytest.raises(ValueError, match="stream") as caught:
        StreamSource.parse("http://admin:p@s3cret@host:0/")

    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(("text", "shown"), [
    ("no way to amqp://app:s3/cret@mq/v", "no way to amqp://***@mq/v"),
    ("postgres://app:/lead@db and http://a/b:c@d", "postgres://***@db and http://a/b:c@d"),
    ("redis://:s3/c@r/et@db:6379/0", "redis://***@db:6379/0"),
    ("http://app:123456/x@db", "http://***@db"),
    ("http://app:pa@db/x@y", "http://***@db/x@y"),
    ("http://host:8080/users/@me", "http://host:8080/users/@me"),
    ("http://host:80?x=/a@b", "http://host:80?x=/a@b"),
    ("http://[::1]:80/x@y http://u:a/b", "http://[::1]:80/x@y http://u:a/b"),
])
def test_a_slash_in_a_password_does_not_end_it(text, shown):
    assert message_of(OSError(text)) == shown
    assert str(ConfigError(masked(text), "k")) == shown
    cut = masked_beginning(text + "." * 9, text.index(":") + 10)
    assert not any(word in cut for word in ("s3", "lead", "1234"))


def test_a_long_text_is_masked_in_time_that_grows_with_it():
    for text in ("://a:b/" * 20_000 + " @", "://" * 20_000 + " @", "://a:b/x " * 20_000 + "@"):
        assert masked(text) == text  # with time that grew as its square, this took minutes
