"""Shared state: the ``[shared]`` tables of gateways and of service registries."""

from __future__ import annotations

import re
import socket
from typing import Any, Final

import attrs

from ...core.checks import number, text
from ...errors import ConfigError
from ...shared.redis_client import StoreAddress, url_mistake
from .checks import authorities_mistake, checked
from .secrets import secret_of, secret_place

_WITH_TLS: Final = ("rediss://", "valkeys://")
_LEAST_SECRET: Final = 32  # bytes: whoever reads the store could try out what a shorter one is
_PREFIX: Final = re.compile(r"[!-~]{0,64}").fullmatch
_SECRET: Final = re.compile(r"(?<=//).*@|[?#].*")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,128}").fullmatch


def _prefix_mistake(value: Any) -> str | None:
    return None if isinstance(value, str) and _PREFIX(value) else "must be at most 64 printable characters of ASCII"


def _name_mistake(value: Any) -> str | None:
    return None if isinstance(value, str) and _NAME(value) else "must be letters, digits, and _ . : @ -"


def _url_checked(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    mistake = url_mistake(value)
    if mistake is not None:  # what stands before the @, or in a query, may be a secret that should not be there
        said = _SECRET.sub("(hidden)", value) if isinstance(value, str) else value
        raise ConfigError(f"{mistake}, not {said!r}", attribute.name)


def _fleet_secret(settings: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    secret_place(settings, attribute, value)
    if value is not None and len(secret_of(value)) < _LEAST_SECRET:
        raise ConfigError(f"the secret must have at least {_LEAST_SECRET} bytes; openssl rand -hex 32 makes one",
                          attribute.name)


@attrs.frozen(kw_only=True)
class SharedCircuits:
    """The table ``shared.circuits``: a circuit opens early when enough other gateways see its endpoint down.

    Attributes:
        share: Of the gateways that use the endpoint, how many must have found it down by their own calls, above 0 to 1.
        min_gateways: How many gateways they must be at least; 2 or more, so that none decides for all.
    """

    share: float = attrs.field(default=0.5, validator=number(above=0, most=1))
    min_gateways: int = attrs.field(default=2, validator=number(least=2, most=1000, whole=True))


@attrs.frozen(kw_only=True)
class StoreAccess:
    """Where a Redis or Valkey is, and as whom it is spoken to.

    Attributes:
        url: "redis://HOST:PORT/DB", "rediss://", "unix:///PATH", or "redis+sentinel://HOST:PORT,HOST:PORT/NAME".
        username: As which it logs in; None: the default user.
        password: Where its password is: "env:NAME" or "file:PATH"; None: there is none.
        sentinel_password: Where the password of the Sentinels is; None: there is none.
        ca_file: Certificates in PEM of the authorities that a server with TLS is verified by; None: the system's.
    """

    url: str = attrs.field(validator=_url_checked)
    username: str | None = attrs.field(default=None, validator=text(optional=True))
    password: str | None = attrs.field(default=None, validator=secret_place)
    sentinel_password: str | None = attrs.field(default=None, validator=secret_place)
    ca_file: str | None = attrs.field(default=None, validator=checked(authorities_mistake, optional=True))

    def __attrs_post_init__(self) -> None:
        if self.username is not None and self.password is None:
            raise ConfigError("a user needs a password; say where it is", "password")
        if self.ca_file is not None and not self.url.startswith(_WITH_TLS):
            raise ConfigError("ca_file needs a URL with TLS, which begins with rediss://; over this one nothing is "
                              "verified", "ca_file")

    @property
    def address(self) -> StoreAddress:
        """Where the store is, with what is secret.

        Raises:
            ConfigError: A secret is not there any more.
        """
        password, sentinel_password = (None if place is None else secret_of(place)
                                       for place in (self.password, self.sentinel_password))
        return StoreAddress(url=self.url, username=self.username, password=password,
                            sentinel_password=sentinel_password, ca_file=self.ca_file)


@attrs.frozen(kw_only=True)
class RegistryStoreSettings(StoreAccess):
    """The ``[shared]`` table of a service registry: where several keep their list together.

    Attributes:
        timeout: Longest time for one exchange, seconds. Nobody who asks the registry waits for it.
        prefix: Begins the name of every key there; registries with the same one have the same list.
    """

    timeout: float = attrs.field(default=1.0, validator=number(least=0.001, most=60.0))
    prefix: str = attrs.field(default="resilience:registry:", validator=checked(_prefix_mistake))


@attrs.frozen(kw_only=True)
class SharedSettings(StoreAccess):
    """The ``[shared]`` table: where several gateways keep what they know together.

    Attributes:
        timeout: Longest time that a request waits for its answer, seconds.
        prefix: Begins the name of every key there; gateways with the same one share.
        name: Of this gateway, for people; None: the host's.
        instances: Workers of all gateways together, which is assumed as long as the store has not said.
        circuits: Whether circuits open early when enough other gateways see an endpoint down, a table; None: they do
            not.
        fleet_secret: Where the secret is by which gateways tell what operators have said to the fleet from what
            somebody else has written: "env:NAME" or "file:PATH", at least 32 bytes; None: operators speak to each
            gateway alone.
    """

    timeout: float = attrs.field(default=0.02, validator=number(least=0.001, most=5.0))
    prefix: str = attrs.field(default="resilience:", validator=checked(_prefix_mistake))
    name: str | None = attrs.field(default=None, validator=checked(_name_mistake, optional=True))
    instances: int = attrs.field(default=1, validator=number(least=1, most=100_000, whole=True))
    circuits: SharedCircuits | None = None
    fleet_secret: str | None = attrs.field(default=None, validator=_fleet_secret)

    @property
    def connection(self) -> SharedSettings:
        """What is said of the connection alone."""
        return attrs.evolve(self, circuits=None, fleet_secret=None)

    @property
    def instance_name(self) -> str:
        """The name of this gateway, for people."""
        return self.name if self.name is not None else re.sub(r"[^A-Za-z0-9_.:@-]", "-", socket.gethostname())[:128]
