"""An order to a command that one worker did not have, such as that of an endpoint which its source did not list yet, was
told to have failed, and was kept for no worker to come; all others had obeyed.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resilience.errors import ConfigError
from resilience.gateway.supervision.supervisor import Supervisor
from resilience.gateway.supervision.worker_process import WorkerGoneError, WorkerRefusedError, WorkerSilentError

FILE = '[services.up]\nendpoints = ["http://127.0.0.1:9"]\n[[routes]]\npath = "/*"\nservice = "up"\n'


def supervisor_of(tmp_path: Path, *answers: Exception | None) -> Supervisor:
    (file := tmp_path / "gateway.toml").write_text(FILE)
    made = Supervisor(file)

    def worker(answer: Exception | None) -> Any:
        async def ask(*question: Any) -> tuple[None, list[Any]]:
            if answer is not None:
                raise answer
            return None, []

        return SimpleNamespace(ask=ask)

    made.workers.update({number: worker(answer) for number, answer in enumerate(answers, 1)})
    return made


async def test_it_is_in_force_where_it_can_be_and_in_those_that_start_later(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, WorkerRefusedError("there is no command 'up@b:80'"), None, WorkerGoneError())
    await supervisor.steer("up@b:80", "force_open")
    assert {"up@b:80": "force_open"} == supervisor._orders
    await supervisor.steer("up@b:80", "release")
    assert not supervisor._orders


async def test_what_no_worker_can_do_is_told_with_its_reason(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, WorkerSilentError(), WorkerRefusedError("there is no command 'x'"))
    with pytest.raises(ConfigError, match="there is no command 'x'"):
        await supervisor.steer("x", "force_open")
    with pytest.raises(ConfigError, match="no worker answers"):
        await supervisor_of(tmp_path, WorkerSilentError()).steer("up", "force_open")
    assert not supervisor._orders
