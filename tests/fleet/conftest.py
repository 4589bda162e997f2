"""One fleet for all tests of this folder: starting its processes takes longer than most of what happens to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fleet import Fleet
from .network import Network


@pytest.fixture(scope="package")
def network() -> Iterator[Network]:
    """A network of its own; tests that ask for it are left out where nobody may make one (tests/conftest.py)."""
    with Network() as made:
        yield made


@pytest.fixture(scope="package")
def whole(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A registry, three services and three gateways, which run."""
    made = Fleet.usual(network, tmp_path_factory.mktemp("fleet"))
    yield made
    made.stop()


@pytest.fixture
def fleet(whole: Fleet) -> Fleet:
    """The same, once all of it is well again, whatever an earlier test has done."""
    whole.until_well()
    return whole
