"""A child that was forked while another thread started a registration, or a directory, took the parent's for its own, and had none."""

import os
import threading

import pytest

from resilience import Registry
from resilience.discovery import Directory, Listing, Registrant, Registration
from tests.forked import forked


class Registrar:
    def register(self, *_):
        pass

    def renew(self, *_):
        return True

    leave = register


class Source:
    async def listing(self):
        return Listing.of(["http://10.0.0.1"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("make", [lambda: Registration(Registrant("orders", "10.0.0.1", 8080), Registrar()),
                                  lambda: Directory("orders", Source(), registry=Registry())])
def test_what_was_about_to_begin_at_a_fork_begins_in_the_child(make, monkeypatch):
    start, made, codes = threading.Thread.start, make(), []

    def forks(thread):
        start(thread)
        monkeypatch.undo()
        codes.append(forked(in_child))

    def in_child():
        with made:
            assert made.wait(30)

    monkeypatch.setattr(threading.Thread, "start", forks)
    with made:
        assert made.wait(30)

    assert [0] == codes
