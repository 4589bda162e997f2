"""`keep` was of no use for a source without a ``__repr__``: the list was kept for an object at an address, which a restart changes.

So it was for one that shows a client, as dataclasses do, which has no ``__repr__``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience import Registry
from resilience.discovery import Directory, Listing
from resilience.discovery.cached_list import name_of
from tests.gateway.harness import eventually


class Own:
    """Shown as an object at an address."""

    def __init__(self, *urls: str) -> None:
        self.urls = urls

    async def listing(self) -> Listing:
        if not self.urls:
            raise OSError("it is away")
        return Listing.of(self.urls)


class Another(Own):
    """Of another class."""


class Named(Own):
    """Shown by a name."""

    def __repr__(self) -> str:
        return "inventory"


class WithClient(Own):
    """Shown with what it has."""

    def __repr__(self) -> str:
        return f"WithClient(client={object()!r})"


@pytest.mark.parametrize("kind", [Own, Named, WithClient])
def test_a_restart_begins_with_the_list_of_a_source_of_the_same_class_or_name(kind: type[Own], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with Directory("shop", kind("http://10.0.0.1:80"), registry=Registry(), keep=f"{kept}"):
        eventually(kept.exists)
    with Directory("shop", kind(), registry=Registry(), keep=f"{kept}", interval=0.05, wait=1.0) as directory:
        assert [each.name for each in directory.instances] == ["10.0.0.1:80"]


def test_sources_of_two_classes_or_names_are_two() -> None:
    assert len({name_of(each) for each in (Own(), Another(), Named(), Own("http://a"))}) == 3
