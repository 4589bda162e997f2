"""Two threads that decorated functions of one key at once: the command forgot one of them, and its ledger at a fork."""

import threading

from resilience import command
from resilience.commands.internals import CommandInternals


def test_a_command_takes_note_of_its_functions_under_the_registrys_lock(registry, monkeypatch):
    plain, taken = CommandInternals.guards, []

    def guards(self, *args):
        other = threading.Thread(target=lambda: taken.append(registry._table.lock.acquire(blocking=False)))
        other.start()
        other.join()
        plain(self, *args)

    monkeypatch.setattr(CommandInternals, "guards", guards)
    command(key="k", registry=registry, timeout=None)(len)

    assert [False] == taken


def test_threads_that_decorate_at_once_share_one_command(registry):
    made, start = [], threading.Barrier(8)

    def decorate():
        start.wait(10)
        made.extend(command(key=f"k{i}", registry=registry, timeout=1.0)(lambda: i) for i in range(20))

    threads = [threading.Thread(target=decorate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 20 == len(registry)
    assert all(8 == len(handle._internals.functions) for handle in registry)
    assert {id(handle) for handle in registry} == {id(each.resilience) for each in made}
