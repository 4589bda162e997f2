"""redis-py before 6 has no class for MASTERDOWN outside of clusters, so a replica that had lost its master was the caller's
fault.
"""

from redis.exceptions import ResponseError

from resilience import Ending, Verdict
from resilience.integrations.redis import judge


def test_a_replica_without_its_master_is_ill_for_every_version_of_the_client():
    error = ResponseError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
    assert judge(Ending(error=error)) is Verdict.FAILED
