"""Gateway configuration: the TOML file of one gateway as validated values."""

from .addresses import address
from .compositions import CompositionConfig, PartConfig
from .file import GatewayConfig, load
from .filters import BUILT_IN, FilterConfig, FilterTable
from .identity import IdentityHeaders
from .listeners import ENCODED, AdminSettings, GatewaySettings
from .routes import METHODS, MirrorConfig, RouteConfig
from .services import DEFAULT_MAX_BODY, ServiceConfig

__all__ = ["BUILT_IN", "DEFAULT_MAX_BODY", "ENCODED", "METHODS", "AdminSettings", "CompositionConfig", "FilterConfig",
           "FilterTable", "GatewayConfig", "GatewaySettings", "IdentityHeaders", "MirrorConfig", "PartConfig",
           "RouteConfig", "ServiceConfig", "address", "load"]
