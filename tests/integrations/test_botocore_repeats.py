"""An operation of botocore that a command repeats sends what it sent before: the first attempt used its parameters up.

botocore changes parameters in their place. The second attempt of ``put_object(Body=b"...")`` sent an empty body, which
S3 stored, and that of ``run_instances(UserData=...)`` encoded its data twice.
"""

from __future__ import annotations

import io
import threading
import urllib.parse

import botocore.exceptions
import botocore.handlers
import pytest

from resilience import CircuitBreaker, Registry, Retry, command
from resilience.config import configure
from resilience.integrations.botocore import FAILURES, guard_client, repeatable
from tests.integrations.test_botocore import TARGET, clients, shared  # noqa: F401 - fixtures

NEVER = CircuitBreaker(min_calls=1000)
RETRY = Retry(attempts=3, base=0.001, busy_base=0.001, budget=None)
DATA = b"0123456789" * 50
FAILS, DONE = (503, {}, b""), (200, {}, b"")


class Unseekable(io.RawIOBase):
    """A pipe, say."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


class Chunk:
    """As ReadFileChunk of s3transfer, which can seek and does not say so."""

    def __init__(self, data):
        self._data = io.BytesIO(data)
        self.read, self.seek, self.tell = self._data.read, self._data.seek, self._data.tell


def at(position, data):
    file = io.BytesIO(data)
    file.seek(position)
    return file


@pytest.fixture(params=["guard_client", "[guards]"])
def guarded(request, clients, shared, tmp_path):  # noqa: F811
    """Makes a client that is guarded either way."""
    with_file = request.param == "[guards]"
    path = tmp_path / "resilience.toml"
    path.write_text(f'[guards."{TARGET}"]\nkey = "aws"\nretry = {{ attempts = 3, base = 0.001, busy_base = 0.001 }}\n',
                    encoding="utf-8")
    configuration = configure(path, registry=shared) if with_file else None

    def make(service):
        client = clients(service)
        client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)  # would be waited for
        return client if with_file else guard_client(client, registry=shared, breaker=NEVER, retry=RETRY)

    yield make
    if configuration is not None:
        configuration.close()


@pytest.mark.parametrize("make", [lambda: DATA, lambda: DATA.decode(), lambda: bytearray(DATA), lambda: io.BytesIO(DATA),
                                  lambda: at(20, b"x" * 20 + DATA), lambda: Chunk(DATA)])
def test_each_attempt_sends_the_whole_body(guarded, answering, make):
    answering.answers += [FAILS, FAILS, DONE]
    guarded("s3").put_object(Bucket="b", Key="k", Body=make())
    assert [DATA] * 3 == answering.bodies


def test_what_botocore_encodes_in_its_place_is_encoded_once(guarded, answering):
    answering.answers += [FAILS, FAILS, (200, {"Content-Type": "text/xml"}, b"<RunInstancesResponse/>")]
    guarded("ec2").run_instances(ImageId="i", MinCount=1, MaxCount=1, UserData="#!/bin/sh")
    sent = [urllib.parse.parse_qs(body.decode()) for body in answering.bodies]
    assert [["IyEvYmluL3No"]] * 3 == [each["UserData"] for each in sent]
    assert 1 == len({each["ClientToken"][0] for each in sent})  # the service recognises a call that it has had before


def test_a_key_that_is_to_be_copied_is_quoted_once(guarded, answering):
    answering.answers += [FAILS, FAILS, (200, {"Content-Type": "text/xml"}, b"<CopyObjectResult/>")]
    seen = []
    client = guarded("s3")
    client.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.headers["x-amz-copy-source"]))
    client.copy_object(Bucket="b", Key="k", CopySource="b/a key")
    assert [b"b/a%20key"] * 3 == seen


# -- without a server

class Client:
    """Its operations have no tokens."""

    class meta:  # noqa: N801
        class service_model:  # noqa: N801
            @staticmethod
            def operation_model(name):
                return type("Model", (), {"idempotent_members": ()})


class Broken(Unseekable):
    def tell(self):
        raise OSError


@pytest.mark.parametrize("kind", [Unseekable, Broken])
def test_a_body_that_cannot_be_rewound_is_sent_once(kind):
    sent = []

    def call(client, name, params):
        sent.append(params["Body"].read())
        raise ConnectionError

    make = repeatable(call)
    call_of_retry = command(key="put", registry=Registry(), failures=FAILURES, timeout=None, breaker=NEVER,
                            retry=RETRY)(make)
    with pytest.raises(botocore.exceptions.UnseekableStreamError, match="a stream that was sent before"):
        call_of_retry(Client, "PutObject", {"Body": kind(DATA)})
    assert [DATA] == sent
    counts = call_of_retry.resilience.snapshot().counts
    assert (1, 1) == (counts["failure"], counts["bad_request"])


def test_parameters_of_the_caller_stay_as_they_are():
    def call(client, name, params):
        params["Body"] = io.BytesIO(params["Body"])
        params["Tags"][0]["Key"] = "changed"

    given = {"Body": DATA, "Tags": [{"Key": "a"}]}
    repeatable(call)(Client, "PutObject", given)
    assert {"Body": DATA, "Tags": [{"Key": "a"}]} == given


def test_two_attempts_do_not_read_one_file_at_once():
    begun, end, read = threading.Event(), threading.Event(), []

    def call(client, name, params):
        begun.set()
        assert end.wait(30.0)
        read.append(params["Body"].read())

    make, file = repeatable(call), io.BytesIO(DATA)
    left = threading.Thread(target=make, args=(Client, "PutObject", {"Body": file}))  # by a timeout, say
    left.start()
    assert begun.wait(30.0)
    for _ in range(2):  # a refusal does not set the file free
        with pytest.raises(botocore.exceptions.UnseekableStreamError, match="which another attempt is still sending"):
            make(Client, "PutObject", {"Body": file})
    end.set()
    left.join(30.0)
    assert [DATA] == read
    file.seek(0)
    make(Client, "PutObject", {"Body": file})
    assert [DATA] * 2 == read
