"""An exception whose ``retry_after`` is a method, or a text, was taken not to ask, whatever its headers said."""

import pytest

from resilience.core.retry_after import asked_for


class Busy(Exception):
    headers = {"Retry-After": "7"}


class WithMethod(Busy):
    def retry_after(self):
        return 3


class WithText(Busy):
    retry_after = "in a while"


class WithTime(Busy):
    retry_after = 0


@pytest.mark.parametrize(("error", "seconds"), [(WithMethod, 7.0), (WithText, 7.0), (WithTime, 0.0)])
def test_the_header_counts_where_the_attribute_says_no_time(error, seconds):
    assert seconds == asked_for(error())
