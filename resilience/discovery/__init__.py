"""Discovery: where the instances of a service are, as a source lists them, and keeps listing them as they come and go.

A source is whatever has ``async def listing()`` (source.py): those that are here, and users' own. The registry that
instances can register with is a package and a process of its own (registry/).
"""

from .dns_source import DnsSource
from .eureka_source import EurekaAnswer, EurekaSource
from .file_source import FileSource
from .instance import Instance
from .source import Listing, Source

__all__ = ["DnsSource", "EurekaAnswer", "EurekaSource", "FileSource", "Instance", "Listing", "Source"]
