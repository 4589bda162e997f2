"""Every bound of the registry's settings, at its edge: as it starts, and after the settings were changed live."""

import pytest

from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import EPOCH_MS, moment
from tests.discovery.registry.test_eureka_rest import FULL, ONE, Api

BOTH = pytest.mark.parametrize("is_live", [False, True])


def api(is_live, **settings):
    """A registry with these settings, from its start or from now on."""
    made = Api(**({} if is_live else settings))
    if is_live:
        made.registry.go_by(RegistrySettings(**settings), moment(0.0))
    return made


def lease(wanted):
    return {**FULL, "leaseInfo": {"renewalIntervalInSecs": 10, "durationInSecs": wanted}}


@BOTH
@pytest.mark.parametrize(("wanted", "status"), [(1, 204), (100, 204), (101, 400), (10**9, 400)])
def test_no_lease_is_longer_than_the_longest(is_live, wanted, status):
    registry = api(is_live, max_lease=100)
    assert registry.status("POST", "/apps/SHOP", lease(wanted)) == status
    found = registry.registry.lease("SHOP", "host:shop:80")
    assert (None if found is None else found.ends_s) == (float(wanted) if status == 204 else None)


@BOTH
def test_a_clock_may_be_so_far_ahead(is_live):
    registry = api(is_live, max_clock_ahead=60.0)
    assert registry.status("POST", "/apps/SHOP", {**FULL, "lastDirtyTimestamp": str(EPOCH_MS + 60_001)}) == 400
    assert registry.status("GET", ONE) == 404
    assert registry.status("POST", "/apps/SHOP", {**FULL, "lastDirtyTimestamp": str(EPOCH_MS + 60_000)}) == 204
    assert registry.status("PUT", f"{ONE}/status?value=DOWN&lastDirtyTimestamp={EPOCH_MS + 60_001}") == 400
    assert registry.read(ONE)["instance"]["status"] == "UP"


@BOTH
def test_a_change_stays_in_the_delta_for_so_long(is_live):
    registry = api(is_live, delta_retention=20.0)
    assert registry.status("POST", "/apps/SHOP", FULL) == 204

    def changes(now):
        registry.now = now
        registry.registry.tick(moment(now), None)
        return len(registry.read("/apps/delta")["applications"]["application"])

    assert [changes(now) for now in (0.0, 19.0, 61.0)] == [1, 1, 0]


@BOTH
@pytest.mark.parametrize(("interval", "ratio", "threshold"), [(10.0, 0.5, 30), (60.0, 1.0, 10), (30.0, 0.85, 17)])
def test_the_renewals_that_are_expected_are_those_of_the_settings(is_live, interval, ratio, threshold):
    registry = api(is_live, expected_renewal_interval=interval, renewal_threshold=ratio)
    for number in range(10):
        assert registry.status("POST", "/apps/SHOP", {**FULL, "instanceId": f"i{number}"}) == 204
    assert registry.registry.preservation.threshold == threshold
