"""A Retry-After date as asctime() writes it, without a zone, was taken for local time: hours too long, or none at all. All
three forms of RFC 9110, section 5.6.7, are in UTC. A Date that cannot be read made a good Retry-After worth nothing.
"""

import time

import pytest

from resilience.core.retry_after import asked_for

SENT = 1_700_000_000.0  # 14 November 2023, 22:13:20 UTC
FORMS = ["Tue, 14 Nov 2023 22:13:27 GMT", "Tuesday, 14-Nov-23 22:13:27 GMT", "Tue Nov 14 22:13:27 2023"]
SENT_FORMS = ["Tue, 14 Nov 2023 22:13:20 GMT", "Tuesday, 14-Nov-23 22:13:20 GMT", "Tue Nov 14 22:13:20 2023"]
OTHERS = ["Tue, 14 Nov 2023 22:13:27 -0000", "Tue, 14 Nov 2023 23:13:27 +0100", "Tue, 14 Nov 2023 17:13:27 EST"]
ODD = ["now", "", "Tue", "Tue Nov 14", "Tue, 99 Nov 2023 22:13:27 GMT", "Tue, 14 Nov 2023 22:13:27 +99999999", "\x00", "9" * 99]


class Response:
    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture(params=["America/New_York", "Asia/Tokyo", "UTC"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_all_forms_of_dates_are_in_utc():
    for date in (*FORMS, *OTHERS):
        assert 7.0 == asked_for(Response(Retry_After=date), lambda: SENT)
        for sent in SENT_FORMS:
            assert 7.0 == asked_for(Response(Retry_After=date, Date=sent))
    assert 6.0 == asked_for(Response(Retry_After="Sat Nov  4 22:13:26 2023", Date="Sat Nov  4 22:13:20 2023"))


@pytest.mark.parametrize("odd", ODD)
def test_without_a_date_that_can_be_read_the_time_here_counts(odd):
    assert 7.0 == asked_for(Response(Retry_After=FORMS[0], Date=odd), lambda: SENT)
    assert asked_for(Response(Retry_After=FORMS[0], Date=odd)) is None


@pytest.mark.parametrize("odd", ODD[:-1])
def test_what_is_no_date_asks_for_nothing(odd):
    assert asked_for(Response(Retry_After=odd, Date=SENT_FORMS[0]), lambda: SENT) is None
