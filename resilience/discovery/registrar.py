"""Registrar: what registers an instance somewhere. One for each kind of registry, and users' own.

When it is asked, and what becomes of its failures, is not its business (registration.py).
"""

from __future__ import annotations

from typing import Protocol

from .registrant import InstanceStatus, Registrant


class Registrar(Protocol):
    """Registers instances in one registry. It is asked one thing at a time, in a thread that may wait."""

    def register(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> None:
        """Have the registry list the instance, for as long as the lease lasts without a renewal.

        Args:
            registrant: The instance.
            status: What it says of itself. Only one that is UP gets requests.
            lease_s: After so many seconds without a renewal the registry may forget it.
            timeout_s: The longest that this may take.

        Raises:
            Exception: It is not registered.
        """
        ...

    def renew(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> bool:
        """Extend the lease; False: the registry does not know the instance, which is to be registered again.

        Args:
            registrant: The instance.
            status: With which it was registered.
            lease_s: Seconds.
            timeout_s: The longest that this may take.

        Raises:
            Exception: It is not renewed.
        """
        ...

    def leave(self, registrant: Registrant, timeout_s: float) -> None:
        """Have the registry forget the instance.

        Args:
            registrant: The instance.
            timeout_s: The longest that this may take.

        Raises:
            Exception: It may still be there.
        """
        ...
