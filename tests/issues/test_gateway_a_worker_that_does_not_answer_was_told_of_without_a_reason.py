"""``worker 1 does not ask its clients to go elsewhere:`` ended there: exceptions without arguments print as nothing."""

from __future__ import annotations

from resilience.gateway.supervision.worker_process import WorkerGoneError, WorkerRefusedError, WorkerSilentError


def test_each_reason_has_words() -> None:
    assert str(WorkerGoneError()) == "it has ended"
    assert str(WorkerSilentError()) == "it does not answer"
    assert str(WorkerRefusedError("the port is taken", 3)) == "the port is taken; 3"
