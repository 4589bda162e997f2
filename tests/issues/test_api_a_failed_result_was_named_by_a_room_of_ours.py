"""The snapshot and tracebacks called FailedResultError by the internal module that it is in; and there was no __version__."""

import importlib.metadata
import pickle

import resilience
from resilience import FailedResultError, FailureRules, Registry, Verdict, command


def test_the_last_failure_has_the_name_that_users_import():
    @command(key="stock", timeout=None, registry=Registry(), failures=FailureRules(results=lambda result: result is None))
    def stock():
        return None

    stock()
    failure = stock.resilience.snapshot().last_failure
    assert failure is not None
    assert failure.type == "resilience.FailedResultError"


def test_it_can_be_pickled_by_either_name():
    error = FailedResultError("stock", None, Verdict.FAILED, "no answer")
    pickled = pickle.dumps(error, protocol=0)
    copies = [pickle.loads(pickled), pickle.loads(pickled.replace(b"cresilience\n", b"cresilience.core.verdict\n"))]
    assert [(FailedResultError, error.args)] * 2 == [(type(each), each.args) for each in copies]


def test_the_package_says_which_version_it_is():
    assert resilience.__version__ == importlib.metadata.version("resilience-commands")
    assert "__version__" not in dir(resilience)
