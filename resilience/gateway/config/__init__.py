"""Gateway configuration: the TOML file of one gateway as validated values."""

from ..front.tls import CertificateSettings, TlsSettings
from .addresses import address
from .file import GatewayConfig, load, read
from .listeners import ENCODED, AdminSettings, GatewaySettings
from .private import PrivateSide
from .process import ProcessSettings
from .routes import METHODS, RouteConfig
from .services import DEFAULT_MAX_BODY, ServiceConfig

__all__ = ["DEFAULT_MAX_BODY", "ENCODED", "METHODS", "AdminSettings", "CertificateSettings", "GatewayConfig",
           "GatewaySettings", "PrivateSide", "ProcessSettings", "RouteConfig", "ServiceConfig", "TlsSettings", "address",
           "load", "read"]
