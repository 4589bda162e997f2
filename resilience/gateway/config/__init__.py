"""Gateway configuration: the TOML file of one gateway as validated values."""

from .addresses import address
from .file import GatewayConfig, load
from .filters import BUILT_IN, FilterConfig, FilterTable
from .identity import IdentityHeaders
from .listeners import ENCODED, AdminSettings, GatewaySettings
from .observing import AccessLogSettings, TracingSettings
from .routes import METHODS, RouteConfig
from .services import DEFAULT_MAX_BODY, ServiceConfig
from .shedding import SheddingSettings

__all__ = ["BUILT_IN", "DEFAULT_MAX_BODY", "ENCODED", "METHODS", "AccessLogSettings", "AdminSettings", "FilterConfig",
           "FilterTable", "GatewayConfig", "GatewaySettings", "IdentityHeaders", "RouteConfig", "ServiceConfig",
           "SheddingSettings", "TracingSettings", "address", "load"]
