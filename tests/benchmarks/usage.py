"""What processes use of the machine, as Linux tells it: a process and all that it has started."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # see proc(5), clear_refs


class Usage:
    """The processes that *pid* is, and has started by now."""

    def __init__(self, pid: int) -> None:
        self.pids = [pid]
        for each in self.pids:
            for task in (_PROC / str(each) / "task").iterdir():
                self.pids += map(int, (task / "children").read_text(encoding="ascii").split())

    def cpu_s(self) -> float:
        """Seconds of CPU time so far, in steps of 10 ms."""
        fields = [self._read(pid, "stat").rpartition(")")[2].split() for pid in self.pids]
        return sum(int(each[11]) + int(each[12]) for each in fields) * _TICK_S

    def busy_s(self) -> float:
        """Seconds that their first threads were on a core, in steps of nanoseconds."""
        return sum(int(self._read(pid, "schedstat").split()[0]) for pid in self.pids) / 1e9

    def memory_mib(self) -> float:
        """MiB in memory, what they share with others divided by the number of sharers (PSS)."""
        return sum(self._field(pid, "smaps_rollup", "Pss:") for pid in self.pids) / 1024

    def peak_mib(self) -> float:
        """The most MiB that each has ever had in memory since forget_peaks(), summed."""
        return sum(self._field(pid, "status", "VmHWM:") for pid in self.pids) / 1024

    def forget_peaks(self) -> None:
        """Let peaks begin with what is in memory now."""
        for pid in self.pids:
            (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")

    @staticmethod
    def _read(pid: int, file: str) -> str:
        return (_PROC / str(pid) / file).read_text(encoding="utf-8", errors="replace")

    def _field(self, pid: int, file: str, name: str) -> int:
        """Kilobytes."""
        return next(int(line.split()[1]) for line in self._read(pid, file).splitlines() if line.startswith(name))
