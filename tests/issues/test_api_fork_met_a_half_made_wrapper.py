"""A fork while another thread decorated found a wrapper without its guard, and left the other commands as they were."""

from resilience import command
from resilience.commands.internals import CommandInternals


def test_a_command_can_be_renewed_as_soon_as_it_knows_its_function(registry, monkeypatch):
    plain, renewed = CommandInternals.guards, []

    def guards(self, *args):
        plain(self, *args)
        self.renew()
        renewed.append(self.key)

    monkeypatch.setattr(CommandInternals, "guards", guards)
    command(key="k", registry=registry, timeout=None)(len)

    assert ["k"] == renewed
