"""``resilience demo``: services that break by a script, a gateway in front with two sides, traffic, and the dashboard.

Every part is a process or a connection of its own, on loopback: the services
and the gateway are started as any user would start them, and the story told in
the terminal is read from the gateway's public metrics stream and from what
clients were answered.
"""
