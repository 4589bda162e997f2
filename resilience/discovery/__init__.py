"""Discovery: where the instances of a service are, as a source lists them, and keeps listing them as they come and go.

A source is whatever has ``async def listing()`` (source.py): those that are here, and users' own. A gateway's service
follows one, and so does a Directory, for code that calls the instances itself. A Registration keeps an instance in a
registry. The registry that instances can register with is a package and a process of its own (registry/).
"""

from .directory import Directory, NoInstanceError
from .dns_source import DnsSource
from .eureka_registrar import EurekaRegistrar
from .eureka_servers import EurekaServers
from .eureka_source import EurekaAnswer, EurekaSource
from .file_source import FileSource
from .instance import Instance
from .instance_commands import InstanceTarget
from .kubernetes_source import KubernetesSource
from .lifespan import registered
from .redis_registrar import RedisRegistrar
from .redis_source import RedisSource
from .registrant import InstanceStatus, Registrant
from .registrar import Registrar
from .registration import Registration
from .source import Listing, Source

__all__ = [
    "Directory", "DnsSource", "EurekaAnswer", "EurekaRegistrar", "EurekaServers", "EurekaSource", "FileSource",
    "Instance", "InstanceStatus", "InstanceTarget", "KubernetesSource", "Listing", "NoInstanceError", "RedisRegistrar",
    "RedisSource", "Registrant", "Registrar", "Registration", "Source", "registered"]


def __dir__() -> list[str]:
    """The public names; submodules are there to be imported, not to be listed."""
    return [*__all__]
