"""The gateway on a core of its own, with any file, and upstreams that are modules of this suite."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from .processes import START_S, free_ports, running
from .proxies import workplace
from .usage import Usage

_LISTENERS = """
[gateway]
bind = "127.0.0.1:%d"

[admin]
bind = "127.0.0.1:%d"
"""


@attrs.frozen(kw_only=True)
class Serving:
    """A gateway that is up."""

    port: int
    admin: int
    usage: Usage


@contextmanager
def serving(tables: str, core: int, *, path: str = "/", start_s: float = START_S) -> Iterator[Serving]:
    """A gateway with one worker on *core*, until the end of the block.

    Args:
        tables: Services and routes of its file.
        core: Of all its processes.
        path: Answered with 200 as soon as it is up.
        start_s: Longest time for that; a large file takes a while, and two processes read it.

    Raises:
        NotAvailable: It does not come up.
    """
    port, admin = free_ports(2)
    with workplace() as directory:
        file = directory / "gateway.toml"
        file.write_text(_LISTENERS % (port, admin) + tables, encoding="utf-8")
        command = [sys.executable, "-m", "resilience", "gateway", str(file), "--workers", "1"]
        with running(command, port=port, path=path, directory=directory, core=core, start_s=start_s) as pid:
            yield Serving(port=port, admin=admin, usage=Usage(pid))


@contextmanager
def upstream(module: str, core: int) -> Iterator[int]:
    """The port of a *module* of this package that is a server, if run with a port; up until the end of the block.

    Raises:
        NotAvailable: It does not come up.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", f"{__package__}.{module}", str(port)]
    with workplace() as directory, running(command, port=port, path="/", directory=directory, core=core):
        yield port
