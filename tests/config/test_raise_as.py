"""raise_as in an entry of [guards]: refusals and timeouts reach code that knows only its vendor's exceptions."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import itertools
import pickle
import random
import sys
import textwrap
import traceback

import pytest

from resilience import (
    BulkheadFullError,
    CallTimeoutError,
    ChaosError,
    CircuitOpenError,
    DeadlineExceededError,
    FailedResultError,
    NoTimeLeftError,
    RateLimitedError,
    Registry,
    RejectedError,
    Verdict,
)
from resilience.config import ConfigFileError, check, configure
from resilience.core.exception_copy import copy_for_raise
from resilience.core.vendor_errors import as_vendor_error, check_vendor
from resilience.errors import ConfigError, ThreadPoolFullError

_numbers = itertools.count()
VENDOR = '''
import asyncio
import functools

class VendorError(Exception):
    def __init__(self, message, *, code=7):
        super().__init__(message)
        self.code = code

class Demanding(Exception):
    def __init__(self, *, request):
        self.request = request

class Client:
    log = []

    def fetch(self, what=None):
        if what is not None:
            raise what
        return "fetched"

    async def later(self, what=None):
        await asyncio.sleep(0)
        return self.fetch(what)

    def pages(self, what=None):
        try:
            got = yield self.fetch(what)
            self.log.append(got)
            try:
                yield "second"
            except KeyError as thrown:
                yield thrown
            return "result"
        finally:
            self.log.append("closed")

    async def stream(self, what=None):
        try:
            got = yield self.fetch(what)
            self.log.append(got)
            try:
                yield "second"
            except KeyError as thrown:
                yield thrown
        finally:
            self.log.append("closed")

    hang = later

    async def hang(self):
        await asyncio.get_running_loop().create_future()

part = functools.partial(Client().fetch, None)
'''


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """A client that nobody here may change, as a module of its own."""
    name = f"vendor_of_errors_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(VENDOR))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__(name)
    yield module
    sys.modules.pop(name, None)


@pytest.fixture
def guarded(vendor, registry):
    """Guards one name of it, and returns the module and the command."""
    configurations = []

    def guard(name, **entry):
        target = f"{vendor.__name__}:{name}"
        entry = {"timeout": False, "breaker": {"consecutive": 1}, "raise_as": f"{vendor.__name__}:VendorError", **entry}
        configurations.append(configure({"guards": {target: entry}}, registry=registry, environ={}))
        return vendor, registry[target]

    yield guard
    for configuration in configurations:
        configuration.close()


def test_a_plain_function_refuses_with_an_error_that_is_both(guarded):
    vendor, handle = guarded("Client.fetch")
    handle.force_open()
    with pytest.raises(vendor.VendorError) as caught:
        vendor.Client().fetch()
    assert isinstance(caught.value, CircuitOpenError)
    assert (handle.key, 7) == (caught.value.key, caught.value.code)
    assert f"{handle.key}: the circuit is open" in str(caught.value)
    assert handle.key in "".join(traceback.format_exception(caught.value))


async def test_a_coroutine_function_refuses_with_an_error_that_is_both(guarded):
    vendor, handle = guarded("Client.later")
    assert inspect.iscoroutinefunction(vendor.Client.later)
    assert "fetched" == await vendor.Client().later()
    handle.force_open()
    with pytest.raises(vendor.VendorError) as caught:
        await vendor.Client().later()
    assert isinstance(caught.value, CircuitOpenError)


async def test_a_timeout_is_both_and_keeps_what_it_says(vendor):
    registry, target = Registry(), f"{vendor.__name__}:Client.hang"
    configuration = configure({"guards": {target: {"timeout": 0.001, "raise_as": f"{vendor.__name__}:VendorError"}}},
                              registry=registry, environ={})
    with pytest.raises(vendor.VendorError) as caught:
        await vendor.Client().hang()
    assert isinstance(caught.value, (CallTimeoutError, TimeoutError))
    assert (target, 0.001) == (caught.value.key, caught.value.timeout)
    configuration.close()
    registry.close()


def test_a_generator_stays_one_and_its_refusals_are_both(guarded):
    vendor, handle = guarded("Client.pages")
    assert inspect.isgeneratorfunction(vendor.Client.pages)
    vendor.Client.log.clear()
    pages = vendor.Client().pages()
    assert ("fetched", "second") == (next(pages), pages.send("sent"))
    thrown = KeyError("thrown")
    assert thrown is pages.throw(thrown)
    with pytest.raises(StopIteration) as end:
        next(pages)
    assert ("result", ["sent", "closed"]) == (end.value.value, vendor.Client.log)
    handle.force_open()
    with pytest.raises(vendor.VendorError):
        next(vendor.Client().pages())


def test_a_dropped_generator_gives_its_slot_back(guarded):
    vendor, handle = guarded("Client.pages", max_concurrent=1)
    pages = vendor.Client().pages()
    next(pages)
    with pytest.raises(vendor.VendorError) as caught:
        next(vendor.Client().pages())
    assert isinstance(caught.value, BulkheadFullError)
    assert (1, 1, 0) == (caught.value.limit, caught.value.in_flight, caught.value.waiting)
    del caught, pages
    gc.collect()
    assert "fetched" == next(vendor.Client().pages())


async def test_an_async_generator_stays_one_and_its_refusals_are_both(guarded):
    vendor, handle = guarded("Client.stream", max_concurrent=1)
    assert inspect.isasyncgenfunction(vendor.Client.stream)
    vendor.Client.log.clear()
    stream = vendor.Client().stream()
    assert ("fetched", "second") == (await anext(stream), await stream.asend("sent"))
    with pytest.raises(vendor.VendorError):
        await anext(vendor.Client().stream())
    thrown = KeyError("thrown")
    assert thrown is await stream.athrow(thrown)
    await stream.aclose()
    assert ["sent", "closed"] == vendor.Client.log
    assert ["fetched", "second"] == [item async for item in vendor.Client().stream()]


async def test_a_cancelled_call_is_cancelled_and_gives_its_slot_back(guarded):
    vendor, handle = guarded("Client.hang", max_concurrent=1)
    task = asyncio.create_task(vendor.Client().hang())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 == handle.snapshot().in_flight


def test_a_callable_object_is_guarded_too(guarded):
    vendor, handle = guarded("part")
    assert "fetched" == vendor.part()
    handle.force_open()
    with pytest.raises(vendor.VendorError):
        vendor.part()


def test_the_targets_own_errors_pass_as_they_are(guarded):
    vendor, handle = guarded("Client.fetch")
    own = vendor.VendorError("down")
    with pytest.raises(vendor.VendorError) as caught:
        vendor.Client().fetch(own)
    assert own is caught.value
    with pytest.raises(vendor.VendorError) as caught:
        vendor.Client().fetch()
    assert "VendorError('down')" in str(caught.value)


def test_the_context_of_a_refusal_is_the_callers_and_not_its_own_twin(guarded):
    vendor, handle = guarded("Client.fetch")
    handle.force_open()
    with pytest.raises(vendor.VendorError) as caught:
        vendor.Client().fetch()
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
    before = ValueError("before")
    try:
        raise before
    except ValueError:
        with pytest.raises(vendor.VendorError) as caught:
            vendor.Client().fetch()
    assert before is caught.value.__context__


def test_it_is_taken_off_and_changed_by_a_reload(vendor, registry, tmp_path):
    file, target = tmp_path / "resilience.toml", f"{vendor.__name__}:Client.fetch"
    before = vars(vendor.Client)["fetch"]
    file.write_text(f'[guards]\n"{target}" = {{ raise_as = "LookupError" }}\n')
    configuration = configure(file, registry=registry, environ={})
    for text, kind in ((f'"{target}" = {{ raise_as = "LookupError" }}', LookupError),
                       (f'"{target}" = {{ raise_as = "OSError" }}', OSError), (f'"{target}" = {{}}', RejectedError)):
        file.write_text(f"[guards]\n{text}\n")
        configuration.reload()
        registry[target].force_open()
        with pytest.raises(kind) as caught:
            vendor.Client().fetch()
        assert (kind is RejectedError) is (type(caught.value) is CircuitOpenError)
    configuration.close()
    assert before is vars(vendor.Client)["fetch"]


@pytest.mark.parametrize(("said", "message"), [
    ("nothing.at_all:Error", "there is no module nothing"),
    ("{vendor}:Client", "raise_as must be an Exception class"),
    ("{vendor}:Lost", "cannot be found"),
    ("KeyboardInterrupt", "raise_as must be an Exception class"),
    ("UnicodeDecodeError", "no CallTimeoutError can be a builtins.UnicodeDecodeError as well"),
    ("not a name", "must be a built-in exception or"),
])
@pytest.mark.parametrize("is_imported", [True, False])
def test_what_no_error_of_ours_can_be_is_a_mistake_in_the_file(vendor, registry, said, message, is_imported):
    target = f"{vendor.__name__}:Client.fetch"
    entry = {"guards": {target: {"raise_as": said.format(vendor=vendor.__name__)}}}
    if not is_imported:
        del sys.modules[vendor.__name__]
        if "{vendor}" in said:  # nothing is known of what a module has that is not imported
            check(entry, environ={})
            return
    with pytest.raises(ConfigFileError) as caught:
        check(entry, environ={})
    assert message in str(caught.value) or "cannot be found" in str(caught.value)


ERRORS = (
    lambda: CircuitOpenError("key", 1.5), lambda: CircuitOpenError("key"), lambda: RateLimitedError("key", 0.25),
    lambda: BulkheadFullError("key", None, 3, 1, 2, 4), lambda: NoTimeLeftError("key", None),
    lambda: ThreadPoolFullError("key", None, "pool", 2, 0, (("a", 1),)), lambda: CallTimeoutError("key", 2.0),
    lambda: DeadlineExceededError("key", 2.0, 3.0), lambda: ChaosError("harm"),
    lambda: FailedResultError("key", 503, Verdict.FAILED, "HTTP status 503", 7.0),
)
PROPERTIES = ("key", "retry_after", "limit", "in_flight", "waiting", "abandoned", "timeout", "deadline", "why",
              "verdict", "result", "holders", "last_failure")


def vendors():
    import aiohttp
    import botocore.exceptions
    import grpc
    import httpx
    import openai
    import redis
    import requests
    import sqlalchemy.exc
    import urllib3

    class Frozen(Exception):
        def __setattr__(self, name, value):
            raise TypeError("frozen")

        def __repr__(self):
            raise ValueError("no repr")

    return (requests.ConnectionError, redis.ConnectionError, grpc.RpcError, botocore.exceptions.ClientError,
            botocore.exceptions.EndpointConnectionError, openai.APIConnectionError, httpx.ConnectError,
            urllib3.exceptions.MaxRetryError, aiohttp.ClientError, sqlalchemy.exc.OperationalError, OSError, KeyError,
            ConnectionResetError, Frozen)


def test_an_instance_of_both_has_our_words_and_attributes_and_can_be_copied_and_pickled():
    rng = random.Random(0)
    for vendor in vendors():
        check_vendor(vendor, "raise_as")
        for make in ERRORS:
            error = make()
            error.add_note("a note")
            error.__cause__ = ValueError("cause")
            twin = as_vendor_error(error, vendor)
            nested = as_vendor_error(twin, rng.choice(vendors()))
            assert isinstance(nested, type(error))
            assert error.__cause__ is twin.__cause__
            copies = [copy.copy(twin), copy_for_raise(twin, None)]
            if "<locals>" not in vendor.__qualname__:
                copies += [pickle.loads(pickle.dumps(twin, protocol)) for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1)]  # older ones call a ConnectionResetError an OSError
            for each in (twin, *copies):
                assert isinstance(each, vendor), (vendor, error)
                assert type(error) in type(each).__mro__
                assert (str(error), error.args, ["a note"]) == (str(each), each.args, each.__notes__)
                assert type(each).__name__ in repr(each)
                for name in PROPERTIES:
                    if hasattr(error, name):
                        assert getattr(error, name) == getattr(each, name), (vendor, error, name)


def test_a_class_without_room_for_both_is_refused():
    class Slotted(Exception):
        __slots__ = ("reason",)

    for vendor in (Slotted, UnicodeDecodeError, int, "KeyError", GeneratorExit):
        with pytest.raises(ConfigError):
            check_vendor(vendor, "raise_as")


def test_an_error_of_a_users_own_class_without_room_for_the_vendors_stays_as_it_is():
    class Unreadable(RejectedError, UnicodeError):
        __slots__ = ("where",)

    error = Unreadable("key")
    assert as_vendor_error(error, OSError) is error


def test_a_vendor_that_makes_its_instances_in_its_own_way_is_not_asked_to():
    class Numbered(Exception):
        def __new__(cls, *, number):
            return super().__new__(cls)

    twin = as_vendor_error(CircuitOpenError("key", 1.5), Numbered)
    assert isinstance(twin, Numbered)
    assert (twin.key, twin.retry_after) == ("key", 1.5)


def test_of_the_classes_that_were_made_those_of_the_last_512_pairs_are_used_again():
    vendors = [type(f"Vendor{number}", (Exception,), {}) for number in range(513)]
    error = ChaosError("harm")

    made = [type(as_vendor_error(error, vendor)) for vendor in vendors[:512]]
    assert type(as_vendor_error(error, vendors[0])) is made[0]
    as_vendor_error(error, vendors[512])

    assert type(as_vendor_error(error, vendors[0])) is made[0]
    assert type(as_vendor_error(error, vendors[1])) is not made[1]
