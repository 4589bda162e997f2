"""A registration whose registry was slow, and which begins again before it has left, is registered in the end."""

from __future__ import annotations

import threading
from typing import Any

from resilience.discovery import InstanceStatus, Registrant, Registration


class Slow:
    """A registrar whose first registration takes until it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def register(self, _: Any, status: InstanceStatus, *__: Any) -> None:
        self.asked.append(status.value)
        self.has_begun.set()
        assert self.may_end.wait(60)

    def renew(self, *_: Any) -> bool:
        return True

    def leave(self, *_: Any) -> None:
        self.asked.append("leave")


def test_what_has_left_late_does_not_take_away_what_has_registered_since() -> None:
    registrar = Slow()
    registration = Registration(Registrant("orders", "10.0.0.1", 80), registrar, lease=900.0, leave_timeout=0.05)
    registration.start()
    assert registrar.has_begun.wait(60)
    registration.leave()
    registration.start()
    registrar.may_end.set()
    assert registration.wait(60)
    assert ["UP", "DOWN", "leave", "UP"] == registrar.asked
    registration.leave()
