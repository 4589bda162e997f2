"""Events: what happens to commands, told to those who subscribe to it; see Registry.subscribe.

StateChanged and State are in ``resilience`` as well.
"""

from .config.events import ConfigurationApplied, ConfigurationRejected
from .core.events import (
    CallFailed,
    CallFailedOver,
    CallFellBack,
    CallHedged,
    CallRejected,
    CallRetried,
    ChaosInjected,
    CommandAdded,
    CommandConfigured,
    CommandRemoved,
    LocalStall,
    RefreshFailed,
    ShadowRejected,
    State,
    StateChanged,
    Trigger,
)

__all__ = [
    "CallFailed",
    "CallFailedOver",
    "CallFellBack",
    "CallHedged",
    "CallRejected",
    "CallRetried",
    "ChaosInjected",
    "CommandAdded",
    "CommandConfigured",
    "CommandRemoved",
    "ConfigurationApplied",
    "ConfigurationRejected",
    "LocalStall",
    "RefreshFailed",
    "ShadowRejected",
    "State",
    "StateChanged",
    "Trigger",
]


def __dir__() -> list[str]:
    """The public names alone."""
    return [*__all__]
