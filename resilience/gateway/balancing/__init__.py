"""Balancing: which endpoint of a service takes a request, and which are left out. Pure."""

from .balancer import Balancer
from .by_name import BALANCERS, KEYED, BalancerOptions, balancer
from .ejection import Ejection, Ejector
from .endpoint_set import EndpointSet
from .endpoint_state import EndpointState
from .slow_start import SlowStart

__all__ = ["BALANCERS", "KEYED", "Balancer", "BalancerOptions", "Ejection", "Ejector", "EndpointSet", "EndpointState",
           "SlowStart", "balancer"]
