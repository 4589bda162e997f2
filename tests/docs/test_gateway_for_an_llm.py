"""The page on a gateway for a language model: its file is run as it stands, between OpenAI's client and two vendors that misbehave."""

from __future__ import annotations

import contextlib
import json
import threading

import httpx
import openai
import pytest
from pages import DOCS, rows, section
from recipe import Recipe

from tests.gateway.harness import Upstream, eventually

pytestmark = pytest.mark.process

PAGE = DOCS / "howto" / "gateway-for-an-llm.md"
PATHS = {"primary": "/v1/chat/completions", "backup": "/openai/v1/chat/completions"}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(text):
    return b"%x\r\n%b\r\n" % (len(text), text)


def event(value, name=""):
    return chunked(f"{f'event: {name}' + chr(10) if name else ''}data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())


def token(text):
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                  "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def usage(total):
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
                  "usage": {"prompt_tokens": 1, "completion_tokens": total - 1, "total_tokens": total}})


def stream(*events):
    return STREAM + b"".join(events) + event("[DONE]") + b"0\r\n\r\n"


def answer(status, value, *headers):
    body = json.dumps(value).encode()
    return (f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            + "".join(f"{each}\r\n" for each in headers) + "\r\n").encode() + body


class Vendor(Upstream):
    """Plays what it is told, once; else it streams its name."""

    def __init__(self, name):
        super().__init__()
        self.name, self.bodies, self.next = name, [], []
        self.on(PATHS[name], self._play)

    @property
    def asked(self):
        return self.count(PATHS[self.name])

    def _play(self, call):
        self.bodies.append(json.loads(call.body()))
        play = self.next.pop(0) if self.next else stream(token(self.name), usage(10))
        if callable(play):
            play(call)
        else:
            call.send(play)


@pytest.fixture(scope="module")
def vendors():
    made = {name: Vendor(name) for name in PATHS}
    yield made
    for each in made.values():
        each.close()


@contextlib.contextmanager
def running(folder, vendors, moved=()):
    """The gateway of the page."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PATHS:
            patch.setenv(f"{name.upper()}_AUTHORIZATION", f"Bearer secret of {name}")
        made = Recipe(folder, PAGE, {f"https://api.{name}.example": each.url for name, each in vendors.items()} | dict(moved))
    try:
        yield made
    finally:
        code, err = made.stop()
    assert (0, False) == (code, "Traceback" in err), err


@pytest.fixture(scope="module")
def gateway(vendors, tmp_path_factory):
    with running(tmp_path_factory.mktemp("llm"), vendors) as made:
        yield made


def client(gateway, team="team-a"):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=f"{team}.replace-me", max_retries=0, timeout=20)


def chat(gateway, team="team-a", **more):
    """The streamed text."""
    with client(gateway, team) as asking:
        return "".join(each.choices[0].delta.content for each in asking.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Hi"}], stream=True, **more) if each.choices)


@pytest.fixture(autouse=True)
def rested(gateway, vendors):
    """Each test begins when the primary is asked first again."""
    vendors["primary"].next.clear()
    eventually(lambda: chat(gateway, "team-b", max_tokens=1) == "primary")


def silent(call):
    call.send(STREAM)
    call.until_closed()


def cut(call):
    call.send(STREAM + token("pri"))
    call.connection.close()


QUOTA = answer(429, {"error": {"code": "insufficient_quota", "message": "pay first"}})
BUSY = answer(429, {"error": {"code": "rate_limit_exceeded"}}, "Retry-After: 1")
FAULTS = {
    "says nothing within `first_item`": silent,
    "answers 429, with Retry-After or without": BUSY,
    "has no quota left": QUOTA,
    "rejects the gateway's key (401)": answer(401, {"error": {"code": "invalid_api_key"}}),
    "answers 500, 502, 503, 504 or 529": answer(529, {"error": {"type": "overloaded"}}),
    "begins a stream with an error event": stream(event({"error": {"type": "overloaded_error"}}, "error")),
    "begins a stream with OpenAI's error, which has no name": stream(event({"error": {"type": "server_error"}})),
    "breaks off before the first token": lambda call: (call.send(STREAM), call.connection.close()),
}


def test_the_page_and_this_test_know_the_same_faults():
    assert {row[0].replace("`", "") for row in rows(section("howto/gateway-for-an-llm.md", "## When the primary fails")) if "backup" in row[1]} == {
        each.replace("`", "") for each in FAULTS}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_backup_answers_if_the_primary(gateway, vendors, fault):
    vendors["primary"].next.append(FAULTS[fault])
    asked = vendors["primary"].asked
    assert "backup" == chat(gateway, "team-b", max_tokens=1)
    assert asked + 1 == vendors["primary"].asked


def test_each_vendor_gets_its_own_key_and_model_and_never_the_clients_key(gateway, vendors):
    assert "primary" == chat(gateway, "team-b", max_tokens=1)
    vendors["primary"].next.append(QUOTA)
    assert "backup" == chat(gateway, "team-b", max_tokens=1)
    for name, model in (("primary", "large-1"), ("backup", "other-large")):
        vendor = vendors[name]
        assert model == vendor.bodies[-1]["model"]
        assert [f"Bearer secret of {name}".encode()] == vendor.called(PATHS[name]).header(b"authorization")
        assert b"replace-me" not in vendor.called(PATHS[name]).head


def test_tokens_pass_as_they_come(gateway, vendors):
    go_on = threading.Event()

    def slowly(call):
        call.send(STREAM + token("first"))
        go_on.wait(10)
        call.send(token("second") + event("[DONE]") + b"0\r\n\r\n")

    vendors["primary"].next.append(slowly)
    with client(gateway, "team-b") as asking:
        pieces = iter(asking.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Hi"}], stream=True, max_tokens=1))
        assert "first" == next(pieces).choices[0].delta.content
        go_on.set()
        assert "second" == next(pieces).choices[0].delta.content


def test_a_stream_that_breaks_off_in_the_middle_is_not_taken_for_complete_and_not_begun_anew(gateway, vendors):
    vendors["primary"].next.append(cut)
    asked = vendors["backup"].asked
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        chat(gateway, "team-b", max_tokens=1)
    assert asked == vendors["backup"].asked


def test_a_stream_that_breaks_off_within_what_is_held_back_is_replaced(vendors, tmp_path):
    with running(tmp_path, vendors, {"hold = 0": "hold = 1000"}) as holding:
        vendors["primary"].next.append(cut)
        assert "backup" == chat(holding, "team-b", max_tokens=1)


def test_a_vendor_that_asks_for_a_rest_is_left_alone_for_so_long(gateway, vendors):
    vendors["primary"].next.append(BUSY)
    assert "backup" == chat(gateway, "team-b", max_tokens=1)
    asked = vendors["primary"].asked
    assert "backup" == chat(gateway, "team-b", max_tokens=1)
    assert asked == vendors["primary"].asked


def test_a_stranger_gets_401(gateway):
    with pytest.raises(openai.AuthenticationError):
        chat(gateway, "stranger")


def test_a_key_whose_budget_of_tokens_is_used_up_gets_429_and_others_do_not(gateway, vendors):
    vendors["primary"].next.append(stream(token("much"), usage(12_000)))
    assert "much" == chat(gateway, "team-a", max_tokens=100)
    refused = eventually(lambda: _refusal(gateway))
    assert 1 <= int(refused.response.headers["retry-after"])
    assert '"tokens"' in refused.response.headers["ratelimit-policy"]
    assert "primary" == chat(gateway, "team-b", max_tokens=1)


def _refusal(gateway):
    try:
        chat(gateway, "team-a", max_tokens=1)
    except openai.RateLimitError as error:
        return error
