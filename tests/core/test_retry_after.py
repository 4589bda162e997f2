"""Retry-After, in every form and place that client libraries have for it."""

import datetime
import email.message
import urllib.error

import pytest

from resilience.core.retry_after import asked_for


class Response:
    def __init__(self, headers):
        self.headers = headers


def on_response(headers):
    error = OSError()
    error.response = Response(headers)
    return error


def on_itself(headers):
    error = OSError()
    error.headers = headers
    return error


def of_botocore(headers):
    error = OSError()
    error.response = {"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 503, "HTTPHeaders": {
        name.lower(): value for name, value in headers.items()}}}
    return error


def of_googleapiclient(headers):
    """The headers are those of httplib2, whose response is a dict."""
    error = OSError()
    error.resp = type("Response", (dict,), {"status": 429})({name.lower(): value for name, value in headers.items()})
    return error


def of_urllib(headers):
    message = email.message.Message()
    for name, value in headers.items():
        message[name] = value
    return urllib.error.HTTPError("http://a.example", 429, "busy", message, None)


def of_grpc(headers):
    error = OSError()
    error.trailing_metadata = lambda: tuple((name.lower(), value) for name, value in headers.items())
    return error


def in_capitals(headers):
    return on_itself({name.upper(): value for name, value in headers.items()})


def in_pairs(headers):
    return on_itself([*headers.items(), *((name, "99") for name in headers)])


def in_bytes(headers):
    return on_response(tuple((name.encode(), value.encode()) for name, value in headers.items()))


PLACES = [on_response, on_itself, of_botocore, of_googleapiclient, of_urllib, of_grpc, Response, in_capitals, in_pairs,
          in_bytes]
DATE = {"Date": "Sat, 28 Nov 2026 20:59:53 GMT", "Retry-After": "Sat, 28 Nov 2026 21:00:00 GMT"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("headers", "seconds"), [
    ({"Retry-After": "7"}, 7.0), ({"Retry-After": "0"}, 0.0), ({"Retry-After": "1.5"}, 1.5), ({"retry-after-ms": "7000"}, 7.0),
    ({"x-ms-retry-after-ms": "250"}, 0.25), ({"retry-after-ms": "7000", "Retry-After": "8"}, 7.0), (DATE, 7.0),
    ({**DATE, "Date": "Sat, 28 Nov 2026 21:00:09 GMT"}, 0.0), ({}, None), ({"Retry-After": "soon"}, None),
    ({"Retry-After": "-1"}, None), ({"Retry-After": "inf"}, None), ({"Retry-After": "nan"}, None),
    ({"retry-after-ms": "soon", "Retry-After": "3"}, 3.0)])
def test_what_is_read_from_headers(place, headers, seconds):
    assert seconds == asked_for(place(headers))


def test_a_date_without_the_answers_own_is_compared_with_the_time_here():
    only = {"Retry-After": DATE["Retry-After"]}
    now = datetime.datetime(2026, 11, 28, 20, 59, 30, tzinfo=datetime.UTC).timestamp()
    assert (None, 30.0) == (asked_for(on_itself(only)), asked_for(on_itself(only), lambda: now))
    assert 0.0 == asked_for(on_itself(only), lambda: now + 60)


@pytest.mark.parametrize(("value", "seconds"), [
    (7, 7.0), (0.5, 0.5), ("7", 7.0), (datetime.timedelta(seconds=7), 7.0), (None, None), (-1, None), ("soon", None), (True, None),
    (datetime.datetime(2026, 11, 28, 21, tzinfo=datetime.UTC), None)])
def test_what_is_read_from_an_attribute(value, seconds):
    error = OSError()
    error.retry_after = value
    assert seconds == asked_for(error)


def test_an_attribute_may_say_until_when():
    error = OSError()
    error.retry_after = datetime.datetime(2026, 11, 28, 21, tzinfo=datetime.UTC)
    now = error.retry_after.timestamp()
    assert (7.0, 0.0) == (asked_for(error, lambda: now - 7.0), asked_for(error, lambda: now + 7.0))


def test_of_a_group_the_longest_counts():
    assert 9.0 == asked_for(ExceptionGroup("", [on_itself({"Retry-After": "2"}), ExceptionGroup("", [
        on_response({"Retry-After": "9"})]), OSError()]))


class Hostile(Exception):
    def __getattribute__(self, name):
        raise RuntimeError(name)


class Odd:
    headers = response = 7
    trailing_metadata = "none"


@pytest.mark.parametrize("make", [Hostile, Odd, lambda: None, lambda: 7, object, lambda: on_response(None),
                                  lambda: on_itself(["a"]), lambda: ExceptionGroup("", [Hostile()])])
def test_whatever_an_object_does_it_asks_for_nothing_then(make):
    assert asked_for(make()) is None
