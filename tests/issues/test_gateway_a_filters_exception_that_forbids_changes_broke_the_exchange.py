"""What became of a filter that failed took its exception's traceback away by assignment, and asked it for its class: where
that is forbidden, as a frozen dataclass forbids it, the exchange failed although the filter may."""

import logging

import pytest

from resilience.gateway import inbound_filter
from tests.gateway.filters.chains import Bench
from tests.issues.hostile import MAKERS


@pytest.fixture(autouse=True)
def _unlogged():
    logging.disable(logging.CRITICAL)  # not all of them can be printed
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("fails_closed", [False, True])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_whatever_a_filter_raises_is_its_own_failure(make, fails_closed):
    error = make()

    @inbound_filter(fail_closed=fails_closed)
    def raises(context):
        raise error

    client = await Bench(raises).get()
    assert client.status == (500 if fails_closed else 200)
